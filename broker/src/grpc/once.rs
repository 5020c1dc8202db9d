//! Requests that are answered once, however often they are repeated: what a `request_id` is for.

use std::{
    fmt,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use parking_lot::Mutex;
use prost::Message;
use tokio::sync::OnceCell;
use tonic::Status;

use super::{
    errors::{again_soon, invalid},
    names::checked_request_id,
};
use crate::requests::Requests;

/// Remembers the answers of a method to the last requests.
pub(super) struct OnceEach<A>(Mutex<Requests<Arc<OnceCell<A>>>>);

impl<A> Default for OnceEach<A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<A> fmt::Debug for OnceEach<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceEach").finish_non_exhaustive()
    }
}

impl<A: Clone + Send + Sync + 'static> OnceEach<A> {
    /// What the request was answered before, or is now. Only success is remembered: what failed may be tried again. It is done to its
    /// end whether the client waits for the answer or not; the same request waits for it meanwhile.
    pub(super) async fn answer(
        &self,
        request_id: &str,
        request: &impl Message,
        act: impl Future<Output = Result<A, Status>> + Send + 'static,
    ) -> Result<A, Status> {
        let id = checked_request_id(request_id)?;
        let cell = if id.is_empty() {
            Arc::default()
        } else {
            self.cell(id, request)?
        };
        let task = async move { cell.get_or_try_init(|| act).await.cloned() };
        let done = tokio::spawn(task).await;
        done.map_err(|_stopping| again_soon("PARTITION_OFFLINE", "the node stops"))?
    }

    fn cell(&self, id: &[u8], request: &impl Message) -> Result<Arc<OnceCell<A>>, Status> {
        let mut hasher = DefaultHasher::new();
        hasher.write(&request.encode_to_vec());
        let fingerprint = hasher.finish();
        let mut requests = self.0.lock();
        let known = requests.find(id, fingerprint);
        let known = known.map_err(|_reused| invalid("request_id", "another request had it"))?;
        Ok(known.unwrap_or_else(|| {
            let cell = Arc::default();
            requests.remember(id, fingerprint, 1, &cell);
            cell
        }))
    }
}

#[cfg(test)]
mod tests {
    use proto::admin::v1::{CreateTopicRequest, DeleteGroupRequest};

    use super::*;

    #[tokio::test]
    async fn a_repeated_request_is_answered_as_it_first_was() {
        let once = OnceEach::default();
        let [g, h] = ["g", "h"].map(|group| DeleteGroupRequest {
            group_id: group.into(),
            ..DeleteGroupRequest::default()
        });
        let failed = once.answer("a", &g, async { Err(invalid("x", "y")) });
        failed.await.unwrap_err();
        let first = once.answer("a", &g, async { Ok(1) });
        assert_eq!(first.await.unwrap(), 1);
        let again = once.answer("a", &g, async { Ok(2) });
        assert_eq!(again.await.unwrap(), 1);
        let another = once.answer("a", &h, async { Ok(3) }).await.unwrap_err();
        assert_eq!(another.code(), tonic::Code::InvalidArgument);
        let without = once.answer("", &g, async { Ok(4) });
        assert_eq!(without.await.unwrap(), 4);
    }

    /// A client that goes away in the middle is answered when it asks again.
    #[tokio::test]
    async fn what_was_begun_is_done_to_its_end() {
        let once = OnceEach::default();
        let request = DeleteGroupRequest::default();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
        let slow = async move {
            let _ = begun.send(());
            let _ = goes_on.await;
            Ok(1)
        };
        let mut left = Box::pin(once.answer("a", &request, slow));
        tokio::select! {
            _ = &mut left => unreachable!("it waits"),
            _ = begins => {}
        }
        drop(left);
        let _ = go_on.send(());
        let again = once.answer("a", &request, async { Ok(2) });
        assert_eq!(again.await.unwrap(), 1);
    }

    /// A map has its entries in one order, however they were written.
    #[tokio::test]
    async fn a_request_with_a_map_is_the_same_again() {
        let once = OnceEach::default();
        for turn in 0..20 {
            let mut names: Vec<_> = (0..9).collect();
            names.rotate_left(turn % 9);
            let settings = names.into_iter().map(|i| (format!("s{i}"), "v".to_owned()));
            let request = CreateTopicRequest {
                settings: settings.collect(),
                ..CreateTopicRequest::default()
            };
            let answer = once.answer("a", &request, async move { Ok(turn) }).await;
            assert_eq!(answer.unwrap(), 0);
        }
    }
}
