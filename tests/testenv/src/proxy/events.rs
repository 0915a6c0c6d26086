//! The body of a watch on its way through the proxy: one JSON object per line, each handed on as soon as it is complete.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use anyhow::{Error, Result, anyhow};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::time::Sleep;

use super::{Effect, rules::Rules};

/// How long a watch that has lost an event goes on before it breaks.
const LOST: Duration = Duration::from_millis(500);

/// What an API server sends when it can no longer tell what has changed since the client's last event.
const GONE: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
);

/// A watch's events with the faults applied.
pub(super) fn follow<B>(body: B, path: String, rules: Arc<Rules>) -> impl Stream<Item = Result<Frame<Bytes>>>
where
    B: Body<Data = Bytes, Error: Into<Error>> + Send + Unpin,
{
    let watch = Watch {
        body,
        path,
        rules,
        partial: BytesMut::new(),
        out: VecDeque::new(),
        lost: None,
        end: None,
    };
    stream::unfold(watch, |mut watch| async move {
        let next = watch.next().await?;
        Some((next, watch))
    })
    // After an error there is nothing more.
    .scan(false, |failed, frame| {
        let over = std::mem::replace(failed, frame.is_err());
        std::future::ready((!over).then_some(frame))
    })
}

struct Watch<B> {
    body: B,
    path: String,
    rules: Arc<Rules>,
    /// The beginning of a line whose end has not come yet.
    partial: BytesMut,
    out: VecDeque<Bytes>,
    /// Runs since an event was lost.
    lost: Option<Pin<Box<Sleep>>>,
    /// How it ends, once `out` is empty.
    end: Option<Result<()>>,
}

impl<B> Watch<B>
where
    B: Body<Data = Bytes, Error: Into<Error>> + Send + Unpin,
{
    async fn next(&mut self) -> Option<Result<Frame<Bytes>>> {
        loop {
            if let Some(bytes) = self.out.pop_front() {
                return Some(Ok(Frame::data(bytes)));
            }
            if let Some(end) = self.end.take() {
                return end.err().map(Err);
            }
            let frame = tokio::select! {
                frame = self.body.frame() => frame,
                () = expired(self.lost.as_mut()) => None,
            };
            match frame {
                Some(Ok(frame)) => {
                    // Trailers are not used by watches.
                    if let Ok(data) = frame.into_data() {
                        self.take(&data);
                    }
                }
                Some(Err(error)) => self.end = Some(Err(error.into())),
                // Also when the API server ends the watch first: the client must not resume behind what it has lost.
                None if self.lost.is_some() => {
                    self.out.push_back(Bytes::from_static(GONE.as_bytes()));
                    self.end = Some(Ok(()));
                }
                None => {
                    let rest = self.partial.split().freeze();
                    self.out.extend((!rest.is_empty()).then_some(rest));
                    self.end = Some(Ok(()));
                }
            }
        }
    }

    fn take(&mut self, data: &[u8]) {
        self.partial.extend_from_slice(data);
        while self.end.is_none()
            && let Some(end) = self.partial.iter().position(|byte| *byte == b'\n')
        {
            let line = self.partial.split_to(end + 1).freeze();
            match is_event(&line)
                .then(|| self.rules.on_event(&self.path, &line))
                .flatten()
            {
                Some(Effect::SkipEvent) => self.lost = Some(Box::pin(tokio::time::sleep(LOST))),
                Some(Effect::RepeatEvent) => self.out.extend([line.clone(), line]),
                Some(Effect::CutStream) => {
                    self.out.push_back(line.slice(..line.len() / 2));
                    self.end = Some(Err(anyhow!("the proxy cuts this watch")));
                }
                _ => self.out.push_back(line),
            }
        }
    }
}

/// Bookmarks tell of no change.
fn is_event(line: &[u8]) -> bool {
    !line.starts_with(br#"{"type":"BOOKMARK""#)
}

async fn expired(lost: Option<&mut Pin<Box<Sleep>>>) {
    match lost {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;
    use crate::proxy::Fault;

    /// What comes out of a watch that brings these pieces and then stays open: the text, and how it ended.
    async fn through(pieces: &[&'static str], fault: Option<Fault>) -> (String, Option<Result<(), ()>>) {
        let rules = Arc::new(Rules::default());
        let armed = fault.map(|fault| rules.arm(fault));
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, Error>(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        let body = StreamBody::new(stream::iter(frames).chain(stream::pending()));
        let mut events = Box::pin(follow(body, "/watch".to_owned(), rules));
        let mut text = String::new();
        let end = loop {
            // The clock is stopped: it jumps when nothing else can happen.
            match tokio::time::timeout(LOST * 2, events.next()).await {
                Ok(Some(Ok(frame))) => text += std::str::from_utf8(&frame.into_data().unwrap()).unwrap(),
                Ok(Some(Err(_))) => break Some(Err(())),
                Ok(None) => break Some(Ok(())),
                Err(_) => break None,
            }
        };
        drop(armed);
        (text, end)
    }

    fn fault(at: usize, effect: Effect) -> Fault {
        Fault {
            scope: "x".to_owned(),
            at,
            effect,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_put_together_and_pass_as_they_are() {
        let pieces = ["{\"a\":1}\n{\"b\"", ":2}\n", "{\"c\":3}\n"];
        assert_eq!(
            through(&pieces, None).await,
            ("{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n".to_owned(), None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_event_ends_the_watch_with_gone() {
        let (text, end) = through(&["{x1}\n{x2}\n{x3}\n"], Some(fault(2, Effect::SkipEvent))).await;
        assert_eq!((text, end), (format!("{{x1}}\n{{x3}}\n{GONE}"), Some(Ok(()))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeated_event_comes_twice_and_a_bookmark_counts_for_nothing() {
        let bookmark = "{\"type\":\"BOOKMARK\",\"x\":1}\n";
        let (text, end) = through(&[bookmark, "{x1}\n{y}\n"], Some(fault(1, Effect::RepeatEvent))).await;
        assert_eq!((text, end), (format!("{bookmark}{{x1}}\n{{x1}}\n{{y}}\n"), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_watch_breaks_inside_the_event() {
        let (text, end) = through(&["{x1}\n{x2}\n{x3}\n"], Some(fault(2, Effect::CutStream))).await;
        assert_eq!((text, end), ("{x1}\n{x".to_owned(), Some(Err(()))));
    }
}
