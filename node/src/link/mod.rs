//! The link: how nodes talk to each other.

pub mod forks;
pub mod frame;
pub mod heads;
pub mod hello;

#[cfg(test)]
mod testing;
