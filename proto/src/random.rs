//! Chance comes in from outside, so that a test can repeat it.

use std::fmt;
use std::sync::Mutex;

use aws_lc_rs::rand::SecureRandom as _;

use crate::hash::Digest;

/// Fills buffers with random bytes.
pub trait Random: Send + Sync + fmt::Debug {
    /// Overwrites all of `buffer`.
    fn fill(&self, buffer: &mut [u8]);
}

/// For everything real: a generator that the operating system seeds.
#[derive(Debug)]
pub struct SystemRandom(aws_lc_rs::rand::SystemRandom);

impl Default for SystemRandom {
    fn default() -> Self {
        Self(aws_lc_rs::rand::SystemRandom::new())
    }
}

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.fill(buffer).expect("the operating system always has randomness once it has booted");
    }
}

/// A repeatable stream, SHA-256 in counter mode over a seed: for tests and simulation only.
#[derive(Debug)]
pub struct SeededRandom {
    seed: u64,
    counter: Mutex<u64>,
}

impl SeededRandom {
    /// The stream of this seed, from its start.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: Mutex::new(0) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        let mut counter = self.counter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for block in buffer.chunks_mut(32) {
            *counter += 1;
            let digest = Digest::of_parts(&[&self.seed.to_be_bytes(), &counter.to_be_bytes()]);
            block.copy_from_slice(&digest.as_bytes()[..block.len()]);
        }
    }
}
