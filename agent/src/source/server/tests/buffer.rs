//! What `holdfast buffer` asks over the control socket.

use holdfast_core::message::{Boot, Clock, Message};
use holdfast_core::outlet::inspect::{Change, Reimport, StoreQuery};
use hyper::Method;

use super::*;
use crate::net::control;

fn message(format: Format, topic: &str, payload: &str) -> Message {
    Message {
        id: 1,
        time_ns: 5,
        clock: Clock::Synced,
        boot: Boot(3),
        up_ns: 9,
        topic: topic.to_owned(),
        device: None,
        source: "s".into(),
        format,
        payload: payload.as_bytes().to_vec(),
        attributes: Vec::new(),
        ttl_s: None,
    }
}

fn again(outlet: &str, messages: Vec<Message>) -> Vec<u8> {
    serde_cbor::to_vec(&Reimport { outlet: outlet.to_owned(), messages }).unwrap()
}

#[test]
fn looks_changes_and_messages_that_come_again_are_for_the_control_socket_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    with(config(), async |bench| {
        let control =
            serve_control(path.clone(), bench.intake.clone(), bench.executor.clone(), bench.room.clone());
        bench.executor.spawn(control).detach();
        while !control::is_running(&path).await.unwrap() {
            smol::future::yield_now().await;
        }
        let ask = async |what: &str, body: Vec<u8>| {
            let path_and_query = format!("/api/buffer/{what}");
            control::request(&path, Method::POST, &path_and_query, None, body).await.unwrap()
        };
        let text = |(status, body): (u16, Vec<u8>)| (status, String::from_utf8(body).unwrap());

        let seen = text(ask("look", serde_cbor::to_vec(&StoreQuery::Files).unwrap()).await);
        assert_eq!(seen, (503, r#"{"error":"cannot see Files"}"#.to_owned()));
        let change = Change::Purge { outlet: "mqtt".to_owned() };
        let (status, body) = ask("change", serde_cbor::to_vec(&change).unwrap()).await;
        assert_eq!((status, serde_cbor::from_slice(&body).ok()), (200, Some(7)));

        let good = message(Format::Json, "a/b", "{}");
        let stored = text(ask("again", again("client:cloud", vec![good.clone(); 3])).await);
        assert_eq!(stored, (200, r#"{"stored":[1,3]}"#.to_owned()));
        assert_eq!(text(ask("again", again("hub", vec![good.clone()])).await).0, 404);
        for (bad, words) in [
            (message(Format::Json, "a/b", "{"), "message 2 of the batch: not valid JSON"),
            (message(Format::Text, "a/#", "x"), "message 2 of the batch: the topic has the character"),
        ] {
            let (status, body) = text(ask("again", again("client:cloud", vec![good.clone(), bad])).await);
            assert!(status == 400 && body.contains(words), "{status} {body}");
        }
        assert_eq!(ask("again", again("client:cloud", Vec::new())).await.0, 413);
        assert_eq!(ask("look", b"what".to_vec()).await.0, 400);
        assert_eq!(ask("other", Vec::new()).await.0, 404);
        assert_eq!(bench.ask("POST", "/api/buffer/look", "", "x").await.0, 404, "not over the network");
        bench.stop();
    });
}

#[test]
fn a_socket_that_nobody_listens_on_is_told_from_one_that_answers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    assert_eq!(smol::block_on(control::is_running(&path)), Ok(false));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(smol::block_on(control::is_running(&path)), Ok(false));
    let _listener = std::os::unix::net::UnixListener::bind(directory.path().join("live.sock")).unwrap();
    assert_eq!(smol::block_on(control::is_running(&directory.path().join("live.sock"))), Ok(true));
}
