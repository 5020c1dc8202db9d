//! Requests with an id, remembered so that a repeated one answers as the first did.

use std::collections::VecDeque;

/// Requests whose answer is remembered, so that a repeated one answers as the first did.
const REQUESTS_MAX: usize = 1_024;
/// Outcomes in those answers, at most; the last answer is remembered whatever it has.
const OUTCOMES_MAX: usize = 200_000;

/// Another request had that id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reused;

/// Answers to requests with an id.
#[derive(Debug)]
pub(crate) struct Requests<A> {
    answers: VecDeque<Remembered<A>>,
    outcomes: usize,
}

#[derive(Debug)]
struct Remembered<A> {
    request_id: Vec<u8>,
    fingerprint: u64,
    outcomes: usize,
    answered: A,
}

impl<A> Default for Requests<A> {
    fn default() -> Self {
        Self {
            answers: VecDeque::new(),
            outcomes: 0,
        }
    }
}

impl<A: Clone> Requests<A> {
    /// What the request was answered before.
    pub(crate) fn find(&self, request_id: &[u8], fingerprint: u64) -> Result<Option<A>, Reused> {
        let known = self.answers.iter().find(|r| r.request_id == request_id);
        match known.filter(|_| !request_id.is_empty()) {
            None => Ok(None),
            Some(known) if known.fingerprint == fingerprint => Ok(Some(known.answered.clone())),
            Some(_) => Err(Reused),
        }
    }

    /// The answer has so many outcomes.
    pub(crate) fn remember(
        &mut self,
        request_id: &[u8],
        fingerprint: u64,
        outcomes: usize,
        answered: &A,
    ) {
        if request_id.is_empty() {
            return;
        }
        self.outcomes += outcomes;
        self.answers.push_back(Remembered {
            request_id: request_id.to_vec(),
            fingerprint,
            outcomes,
            answered: answered.clone(),
        });
        while self.answers.len() > REQUESTS_MAX
            || self.outcomes > OUTCOMES_MAX && self.answers.len() > 1
        {
            let oldest = self.answers.pop_front();
            self.outcomes -= oldest.map_or(0, |r| r.outcomes);
        }
    }
}
