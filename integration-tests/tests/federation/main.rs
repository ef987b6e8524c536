//! Whole federations, one module for each subject: in one program, so that all of it is linked once. What counts on a
//! process of its own (metrics, kills) stands beside this folder.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test says by failing what went wrong"
)]

mod compressed;
mod corpus;
mod doctor;
mod door_attacks;
mod door_resets;
mod door_slow;
mod evidence;
mod exchange;
mod failover;
mod firewalls;
mod full_disk;
mod large;
mod mistakes;
mod news;
mod officers;
mod raw_door;
mod refusals;
mod reload;
mod rest;
mod rest_attacks;
mod routes;
mod sealing_switch;
mod shown;
mod stream_bounds;
mod stream_ends;
mod stream_evidence;
mod stream_memory;
mod streams;
mod switch;
mod turned_away;
mod xroad_faults;
