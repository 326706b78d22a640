//! Those who read: last values and subscriptions.

use super::*;

#[test]
fn the_last_message_of_a_topic_is_told_whatever_is_in_it() {
    with(config(), async |bench| {
        let expected = concat!(
            r#"{"id":7,"source":"server:sensors","time":"1970-01-01T00:00:01.000000000Z","clock":"unsynced","#,
            r#""topic":"kitchen/t","device":"kitchen","format":"binary","data_base64":"AP8="}"#
        );
        for path in ["/api/topics/kitchen/t/last", "/api/topics/kitchen%2Ft/last"] {
            assert_eq!(bench.ask("GET", path, "", "").await, (200, expected.to_owned()));
        }
        let silent = r#"{"error":"nothing was heard of cellar since the agent started"}"#;
        assert_eq!(bench.ask("GET", "/api/topics/cellar/last", "", "").await, (404, silent.to_owned()));
        for path in ["/api/topics/kitchen/t", "/api/topics/", "/api/topics/last"] {
            assert_eq!(bench.ask("GET", path, "", "").await.0, 404, "{path}");
        }
        assert_eq!(bench.ask("GET", "/api/topics/%FF/last", "", "").await.0, 400);
    });
}

#[test]
fn the_topics_may_be_filtered() {
    with(config(), async |bench| {
        for (query, known) in [("", true), ("?topic=kitchen/%2A", true), ("?topic=x/%23", false)] {
            let expected = serde_json::json!({ "topics": [], "known": known }).to_string();
            assert_eq!(bench.ask("GET", &format!("/api/topics{query}"), "", "").await, (200, expected));
        }
        let (status, error) = bench.ask("GET", "/api/topics?topic=a%23", "", "").await;
        assert!(status == 400 && error.contains("is no topic filter"), "{error}");
        assert_eq!(bench.ask("POST", "/api/topics", "", "").await.0, 405);
    });
}

#[test]
fn a_subscriber_is_told_what_is_accepted_and_what_it_says_is_ignored() {
    let mut server = config();
    server.limits.idle_timeout = Duration::from_secs(2);
    with(server, async |bench| {
        let mut socket = bench.web_socket("/subscribe?topic=kitchen/%2A&topic=x").await;
        let first = text(&mut socket).await;
        assert!(first.starts_with(r#"{"id":7,"#) && first.contains("AP8="), "{first}");
        futures_util::SinkExt::send(&mut socket, Message::text("hello")).await.unwrap();
        bench.publishers.borrow_mut()[0].show(&last("kitchen/t").unwrap());
        assert_eq!(text(&mut socket).await, first);
        assert!(bench.seen.is_empty());
        bench.stop();
        let (code, reason, texts) = farewell(&mut socket).await;
        assert_eq!((code, reason.as_str(), texts.len()), (1001, "the agent is stopping", 0));
    });
}

#[test]
fn a_subscriber_that_lost_something_is_told_how_much() {
    with(config(), async |bench| {
        let mut socket = bench.web_socket("/subscribe").await;
        text(&mut socket).await;
        let message = last("kitchen/t").unwrap();
        // Nothing else runs meanwhile, so that the queue overflows.
        let lost = (0..600).filter(|_| bench.publishers.borrow_mut()[0].show(&message)).count();
        for _ in 0..600 - lost {
            assert!(text(&mut socket).await.starts_with(r#"{"id":7,"#));
        }
        assert_eq!(text(&mut socket).await, format!("{{\"dropped\":{lost}}}"));
    });
}

#[test]
fn a_subscriber_that_does_not_answer_is_given_up() {
    let mut server = config();
    server.limits.idle_timeout = Duration::from_millis(200);
    with(server, async |bench| {
        let mut stream = bench.connect().await;
        let head = "GET /subscribe HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(String::from_utf8_lossy(&answer).contains("nothing came for 0.4 s"));
    });
}

#[test]
fn a_subscription_that_cannot_be_is_refused_before_the_upgrade() {
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    with(config(), async |bench| {
        let cases = [
            ("/subscribe?topic=a%23", upgrade, 400),
            ("/subscribe?topic=x", upgrade, 503),
            ("/subscribe", "", 426),
        ];
        for (path, headers, status) in cases {
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
            let mut stream = bench.connect().await;
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&start), format!("HTTP/1.1 {status}"), "{path}");
        }
    });
    let server = Server { subscribe: Audience::None, ..config() };
    with(server, async |bench| {
        let mut socket = bench.web_socket("/subscribe?confirm=1").await;
        futures_util::SinkExt::send(&mut socket, Message::text("1")).await.unwrap();
        assert_eq!(bench.seen.recv().await.unwrap(), Seen::Connected("subscribe".to_owned()));
        assert_eq!(bench.draft().await.topic, "subscribe");
    });
}
