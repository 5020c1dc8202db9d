//! Requests with an id, remembered so that a repeated one answers as the first did.

use std::collections::VecDeque;

use storage::units::Offset;

use crate::schedule::control::{ControlError, Outcome};

/// Requests whose answer is remembered, so that a repeated one answers as the first did.
const REQUESTS_MAX: usize = 1_024;
/// Outcomes in those answers, at most; the last answer is remembered whatever it has.
const OUTCOMES_MAX: usize = 200_000;

/// What a change came to: an outcome per record that was asked about, `None` where it is not pending; and the log end at which
/// that may be told.
#[derive(Clone, Debug)]
pub struct Answered {
    /// In the order asked.
    pub outcomes: Vec<Option<Outcome>>,
    /// When it is committed.
    pub committed_at: Offset,
}

/// Answers to requests with an id.
#[derive(Debug, Default)]
pub(super) struct Requests {
    answers: VecDeque<Remembered>,
    outcomes: usize,
}

#[derive(Debug)]
struct Remembered {
    request_id: Vec<u8>,
    fingerprint: u64,
    answered: Answered,
}

impl Requests {
    /// What the request was answered before.
    pub(super) fn find(
        &self,
        request_id: &[u8],
        fingerprint: u64,
    ) -> Result<Option<Answered>, ControlError> {
        let known = self.answers.iter().find(|r| r.request_id == request_id);
        match known.filter(|_| !request_id.is_empty()) {
            None => Ok(None),
            Some(known) if known.fingerprint == fingerprint => Ok(Some(known.answered.clone())),
            Some(_) => Err(ControlError::RequestIdReused),
        }
    }

    pub(super) fn remember(&mut self, request_id: &[u8], fingerprint: u64, answered: &Answered) {
        if request_id.is_empty() {
            return;
        }
        self.outcomes += answered.outcomes.len();
        self.answers.push_back(Remembered {
            request_id: request_id.to_vec(),
            fingerprint,
            answered: answered.clone(),
        });
        while self.answers.len() > REQUESTS_MAX
            || self.outcomes > OUTCOMES_MAX && self.answers.len() > 1
        {
            let oldest = self.answers.pop_front();
            self.outcomes -= oldest.map_or(0, |r| r.answered.outcomes.len());
        }
    }
}
