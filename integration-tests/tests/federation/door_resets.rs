//! Callers that reset their stream after any frame that they sent or heard, for each kind of call, and those who leave within
//! a call of REST. The connection goes on, the next call is served, all that was taken comes back, the ledgers say how it
//! ended, and what was sealed verifies.

use std::collections::BTreeSet;

use peabiru_integration_tests::echo::wire::{
    CollectRequest, FollowRequest, GatherRequest, MirrorRequest, SayRequest, TalkRequest, WatchRequest,
};
use peabiru_integration_tests::federation::{Federation, Member, grant_of};
use peabiru_integration_tests::ledger::{all_hold, entries, left_open};
use peabiru_integration_tests::metrics::until_nothing_is_held;
use peabiru_integration_tests::web::Web;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::raw_door::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RESET, SETTINGS, call, frame, http2_with,
    is_served, message, soon,
};

/// A kind of call: its method, and the frames of its body.
struct Kind {
    method: &'static str,
    pieces: Vec<Vec<u8>>,
}

fn kinds() -> Vec<Kind> {
    let thrice = |message: Vec<u8>| vec![message.clone(), message.clone(), message];
    let body = bytes::Bytes::from_static(b"petei");
    let large = message(&SayRequest { body: vec![7; 200_000].into(), ..SayRequest::default() });
    let watch = WatchRequest { count: 3, bytes: 20_000, fail_with: 0 };
    let follow = FollowRequest { count: 3, bytes: 20_000, fail_with: 0 };
    let kind = |method, pieces| Kind { method, pieces };
    vec![
        kind("Say", vec![message(&SayRequest { body: body.clone(), ..SayRequest::default() })]),
        // Large both ways.
        kind("Say", large.chunks(16_000).map(<[u8]>::to_vec).collect()),
        kind("Collect", thrice(message(&CollectRequest { body: body.clone() }))),
        kind("Watch", vec![message(&watch)]),
        kind("Mirror", thrice(message(&MirrorRequest { body: body.clone() }))),
        // These go on one by one.
        kind("Follow", vec![message(&follow)]),
        kind("Gather", thrice(message(&GatherRequest { body: body.clone() }))),
        kind("Talk", thrice(message(&TalkRequest { body }))),
    ]
}

/// A connection of a caller, which opens one stream after another.
struct Line {
    socket: TcpStream,
    unread: Vec<u8>,
    stream: u32,
}

impl Line {
    async fn open(at: &Member) -> Self {
        // Room for all that is answered: of each stream, and of all together.
        let mut socket = http2_with(at.node.door.unwrap(), &[0, 4, 0, 16, 0, 0]).await;
        socket.write_all(&frame(WINDOW_UPDATE, 0, 0, &[63, 0, 0, 0])).await.unwrap();
        let mut line = Self { socket, unread: Vec::new(), stream: 1 };
        // The door's own windows are as large as it says once it knows that this was heard.
        while line.hear().await.0 != SETTINGS {}
        line.say(&[frame(SETTINGS, ACKNOWLEDGED, 0, &[])]).await;
        line
    }

    /// The frames of a call on a stream of its own.
    fn frames(&self, token: &str, kind: &Kind) -> Vec<Vec<u8>> {
        let mut frames = vec![frame(HEADERS, END_HEADERS, self.stream, &call(token, kind.method))];
        frames.extend(kind.pieces.iter().map(|piece| frame(DATA, 0, self.stream, piece)));
        frames.push(frame(DATA, END_STREAM, self.stream, &[]));
        frames
    }

    async fn say(&mut self, frames: &[Vec<u8>]) {
        self.socket.write_all(&frames.concat()).await.unwrap();
    }

    /// Kind and flags of the next frame, and of which stream it is.
    async fn hear(&mut self) -> (u8, u8, u32) {
        loop {
            if let Some((head, rest)) = self.unread.split_first_chunk::<9>() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if rest.len() >= length {
                    assert_ne!(head[3], GOAWAY, "the door ends the connection: {:?}", &rest[..length]);
                    let heard = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
                    self.unread.drain(..9 + length);
                    return heard;
                }
            }
            let read = soon("a frame", self.socket.read_buf(&mut self.unread)).await.unwrap();
            assert_ne!(read, 0, "the connection goes on");
        }
    }

    /// Hears so many frames of the stream, or all of it. Gives how many.
    async fn heard(&mut self, frames_max: usize) -> usize {
        let mut heard = 0;
        while heard < frames_max {
            let (kind, flags, stream) = self.hear().await;
            if stream == self.stream && [DATA, HEADERS].contains(&kind) {
                heard += 1;
                if flags & END_STREAM != 0 {
                    break;
                }
            }
        }
        heard
    }

    /// Gives the stream up; the connection answers all the same.
    async fn reset(&mut self) {
        const CANCEL: [u8; 4] = 8u32.to_be_bytes();
        self.say(&[frame(RESET, 0, self.stream, &CANCEL), frame(PING, 0, 0, b"go on..?")]).await;
        while self.hear().await.0 != PING {}
        self.stream += 2;
    }
}

/// Nothing is left of what was given up.
async fn are_clean(members: &[&Member]) {
    for member in members {
        until_nothing_is_held(member.node.metrics.unwrap()).await;
        assert_eq!(left_open(&entries(member).await), BTreeSet::new(), "{}", member.agency.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_any_kind_may_be_reset_after_any_frame() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let (token, mut app) = (mitic.agency.token.clone(), mitic.caller("MEC").await);
    for kind in kinds() {
        let what = format!("{} of {} frames", kind.method, kind.pieces.len());
        let mut line = Line::open(&mitic).await;
        line.say(&line.frames(&token, &kind)).await;
        let answered = line.heard(usize::MAX).await;
        assert!(answered >= 2, "{what}: head and message, or trailers");
        line.stream += 2;
        for cut in 1..=kind.pieces.len() + 2 {
            let frames = line.frames(&token, &kind);
            line.say(&frames[..cut]).await;
            line.reset().await;
        }
        for cut in 1..=answered {
            line.say(&line.frames(&token, &kind)).await;
            line.heard(cut).await;
            line.reset().await;
        }
        is_served(&what, &mut app).await;
        line.say(&line.frames(&token, &kind)).await;
        assert!(line.heard(usize::MAX).await >= 2, "{what}: the same connection serves the next");
        drop(line);
        are_clean(&[&mitic, &mec]).await;
    }
    for member in [&mitic, &mec] {
        let (files, incomplete) = all_hold(member, &federation.instance.anchor).await;
        assert!(files > incomplete, "{incomplete} of {files} lack something");
    }
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_of_rest_may_leave_at_any_byte() {
    let mut federation = Federation::start().await;
    let url = format!("http://{}", Web::default().start().await);
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol_web("MEC", &url).await);
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    mec.grant("MITIC").await;
    let schools = "PY/GOV/MEC/app/schools".parse().unwrap();
    grant_of(&mut mec.admin().await, &schools, "MITIC", &["testing", "statistics"], &[]).await;
    let mut app = mitic.caller("MEC").await;
    let token = &mitic.agency.token;
    let head = |length: &str| {
        format!(
            "POST /r1/PY/GOV/MEC/app/schools/schools HTTP/1.1\r\nhost: d\r\nx-road-client: PY/GOV/MITIC/app\r\n\
             x-peabiru-token: {token}\r\n{length}\r\n\r\n"
        )
    };
    let small = [head("content-length: 5"), "petei".to_owned()].concat();
    let chunked = [head("transfer-encoding: chunked"), "5\r\npetei\r\n0\r\n\r\n".to_owned()].concat();
    for whole in [small, chunked] {
        for cut in 0..=whole.len() {
            let mut socket = TcpStream::connect(mitic.node.door.unwrap()).await.unwrap();
            socket.write_all(&whole.as_bytes()[..cut]).await.unwrap();
        }
        is_served("after callers that left", &mut app).await;
    }
    // A large one, where each piece of it ends, and with each piece of its answer.
    let large = [head("content-length: 200000").into_bytes(), vec![b'x'; 200_000]].concat();
    for cut in (0..large.len()).step_by(16_384) {
        let mut socket = TcpStream::connect(mitic.node.door.unwrap()).await.unwrap();
        socket.write_all(&large[..cut]).await.unwrap();
    }
    for heard in (0..200_000).step_by(16_384) {
        let mut socket = TcpStream::connect(mitic.node.door.unwrap()).await.unwrap();
        socket.write_all(&large).await.unwrap();
        let read = soon("a part of the answer", socket.read_exact(&mut vec![0; heard])).await;
        assert_eq!(read.unwrap(), heard);
    }
    is_served("after callers that left with large bodies", &mut app).await;
    are_clean(&[&mitic, &mec]).await;
    for member in [&mitic, &mec] {
        let (files, incomplete) = all_hold(member, &federation.instance.anchor).await;
        assert!(files > incomplete, "{incomplete} of {files} lack something");
    }
    mitic.stop().await;
    mec.stop().await;
}

const WINDOW_UPDATE: u8 = 8;
const ACKNOWLEDGED: u8 = 1;
