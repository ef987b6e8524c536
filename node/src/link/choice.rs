//! Which carrier a peer is dialled with first, and which of two dialled at once is taken.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peabiru_proto::id::NodeId;

use super::terms::Carrier;

/// The peers that HTTP/2 reached where QUIC did not, and why. Asked for registered nodes only, so their number bounds it.
#[derive(Debug, Default)]
pub(crate) struct Choices(Mutex<HashMap<NodeId, String>>);

/// How two attempts ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Raced<T> {
    /// The first one gave a connection.
    First(T),
    /// The second one did; why not the first.
    Second(T, String),
    /// None did; why not the first, why not the second.
    Neither(String, String),
}

impl Choices {
    /// What to dial this peer with first.
    pub(crate) fn first(&self, peer: &NodeId) -> Carrier {
        if self.choices().contains_key(peer) { Carrier::Http2 } else { Carrier::Quic }
    }

    /// Why it was not reached over QUIC when that was tried last.
    pub(crate) fn without_quic(&self, peer: &NodeId) -> Option<String> {
        self.choices().get(peer).cloned()
    }

    /// HTTP/2 reached it, and QUIC did not.
    pub(crate) fn remember(&self, peer: &NodeId, why: String) {
        self.choices().insert(peer.clone(), why);
    }

    /// QUIC reached it.
    pub(crate) fn forget(&self, peer: &NodeId) {
        self.choices().remove(peer);
    }

    /// A panic elsewhere leaves the map whole: each change is one step.
    fn choices(&self) -> MutexGuard<'_, HashMap<NodeId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries the first, and the second too once the first has failed or had its head start. The first whole one is taken,
/// and the other one dropped. Once the second has failed, the first is waited for as long as `patience`.
pub(crate) async fn race<T>(
    first: impl Future<Output = Result<T, String>>,
    second: impl Future<Output = Result<T, String>>,
    head_start: impl Future<Output = ()>,
    patience: impl Future<Output = ()>,
) -> Raced<T> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let early = tokio::select! {
        biased;
        ended = &mut first => Some(ended),
        () = head_start => None,
    };
    let failed = match early {
        Some(Ok(taken)) => return Raced::First(taken),
        Some(Err(why)) => why,
        None => tokio::select! {
            biased;
            ended = &mut first => match ended {
                Ok(taken) => return Raced::First(taken),
                Err(why) => why,
            },
            ended = &mut second => match ended {
                Ok(taken) => return Raced::Second(taken, format!("no handshake within {HEAD_START:?}")),
                Err(other) => return tokio::select! {
                    biased;
                    ended = &mut first => match ended {
                        Ok(taken) => Raced::First(taken),
                        Err(why) => Raced::Neither(why, other),
                    },
                    () = patience => Raced::Neither("no handshake".to_owned(), other),
                },
            },
        },
    };
    match second.await {
        Ok(taken) => Raced::Second(taken, failed),
        Err(other) => Raced::Neither(failed, other),
    }
}

/// How long the carrier that is preferred is waited for before the other one is tried too.
pub(crate) const HEAD_START: Duration = Duration::from_millis(300);
/// How long one carrier is still waited for after the other one was refused: where a node is down, TCP is refused at once,
/// and QUIC is met with silence.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    type Attempt = Result<&'static str, String>;

    fn failed(why: &str) -> Attempt {
        Err(why.to_owned())
    }

    /// Ends when it is looked at for the second time.
    async fn late(attempt: Attempt) -> Attempt {
        tokio::task::yield_now().await;
        attempt
    }

    #[tokio::test]
    async fn the_first_is_taken_if_it_is_there_in_time() {
        assert_eq!(
            race(ready(Ok("first")), pending::<Attempt>(), ready(()), pending()).await,
            Raced::First("first")
        );
        let slower_still = pending::<Attempt>();
        assert_eq!(race(late(Ok("first")), slower_still, ready(()), pending()).await, Raced::First("first"));
    }

    #[tokio::test]
    async fn the_second_is_taken_if_the_first_is_silent_or_fails() {
        let silent = race(pending::<Attempt>(), ready(Ok("second")), ready(()), pending()).await;
        assert_eq!(silent, Raced::Second("second", "no handshake within 300ms".to_owned()));
        let refused = race(ready(failed("refused")), ready(Ok("second")), pending(), pending()).await;
        assert_eq!(refused, Raced::Second("second", "refused".to_owned()));
    }

    #[tokio::test]
    async fn both_reasons_are_told_if_there_is_none() {
        let neither = Raced::Neither("a".to_owned(), "b".to_owned());
        assert_eq!(race(ready(failed("a")), ready(failed("b")), pending(), pending()).await, neither);
        assert_eq!(race(late(failed("a")), ready(failed("b")), ready(()), pending()).await, neither);
        let silent = race(pending::<Attempt>(), ready(failed("refused")), ready(()), ready(())).await;
        assert_eq!(silent, Raced::Neither("no handshake".to_owned(), "refused".to_owned()));
    }

    #[test]
    fn a_choice_is_remembered_until_quic_works() {
        let (choices, peer) = (Choices::default(), "PY/GOV/MEC/1".parse().unwrap());
        assert_eq!((choices.first(&peer), choices.without_quic(&peer)), (Carrier::Quic, None));
        choices.remember(&peer, "silent".to_owned());
        assert_eq!(
            (choices.first(&peer), choices.without_quic(&peer)),
            (Carrier::Http2, Some("silent".to_owned()))
        );
        choices.forget(&peer);
        assert_eq!(choices.first(&peer), Carrier::Quic);
    }
}
