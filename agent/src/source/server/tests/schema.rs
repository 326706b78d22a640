//! Routes with a schema.

use futures_util::SinkExt;
use holdfast_core::config::reply::Mode;

use super::*;

const SCHEMA: &str = r#"{
    "type": "object", "required": ["values"],
    "properties": { "values": { "type": "array", "items": { "$ref": "value.json" } } }
}"#;

/// A server whose route has this schema, in a folder with `value.json`.
fn server(folder: &tempfile::TempDir, schema: &str, mode: Mode) -> Server {
    let file = folder.path().join("reading.json");
    std::fs::write(&file, schema).unwrap();
    std::fs::write(folder.path().join("value.json"), r#"{ "type": "number" }"#).unwrap();
    let route = Route { schema: Some(file), mode, ..Route::of_path("/r/{device}") };
    Server { routes: vec![route], ..config() }
}

#[test]
fn a_post_that_breaks_the_schema_is_told_where_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    with(server(&folder, SCHEMA, Mode::Data), async |bench| {
        assert_eq!(bench.post("/r/a", r#"{"values":[1,2]}"#).await, (200, r#"{"stored":1}"#.to_owned()));
        assert_eq!(bench.draft().await.format, Format::Json);
        let told = r#"{"error":"/values/1 must be of the type number","pointer":"/values/1"}"#;
        assert_eq!(bench.post("/r/a", r#"{"values":[1,"2"]}"#).await, (400, told.to_owned()));
        let told = r#"{"error":"the message lacks the member \"values\"","pointer":""}"#;
        assert_eq!(bench.post("/r/a", "{}").await, (400, told.to_owned()));
        let (status, error) = bench.post("/r/a", "{").await;
        assert!(status == 400 && error.contains("not valid JSON"), "{error}");
        let ndjson = "content-type: application/x-ndjson\r\n";
        let lines = "{\"values\":[]}\n{\"values\":1}\n";
        let told = r#"{"error":"line 2 of the body: /values must be of the type array","pointer":"/values"}"#;
        assert_eq!(bench.ask("POST", "/r/a", ndjson, lines).await, (400, told.to_owned()));
        assert_eq!(bench.post("/other", "{}").await.0, 200, "other paths have no schema");
        assert_eq!(bench.draft().await.topic, "other");
        assert!(bench.seen.is_empty());
        let counted = serde_json::json!([{ "server": "sensors", "route": "/r/{device}", "count": 3 }]);
        assert_eq!(serde_json::to_value(bench.intake.tally().shown()).unwrap(), counted);
    });
}

#[test]
fn a_frame_that_breaks_the_schema_is_refused_in_its_place_or_ends_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    with(server(&folder, SCHEMA, Mode::Data), async |bench| {
        let mut socket = bench.web_socket("/r/a?confirm=1").await;
        for frame in [r#"{"values":[]}"#, r#"{"values":["x"]}"#, "{}", r#"{"values":[1]}"#] {
            socket.feed(Message::text(frame)).await.unwrap();
        }
        socket.flush().await.unwrap();
        let told = [
            r#"{"stored":1}"#,
            r#"{"error":"/values/0 must be of the type number","pointer":"/values/0","refused":1}"#,
            r#"{"error":"the message lacks the member \"values\"","pointer":"","refused":1}"#,
            r#"{"stored":2}"#,
        ];
        for expected in told {
            assert_eq!(text(&mut socket).await, expected);
        }
        let mut socket = bench.web_socket("/r/a").await;
        socket.send(Message::text("{}")).await.unwrap();
        let (code, reason, _) = farewell(&mut socket).await;
        assert_eq!((code, reason.as_str()), (1007, "the message lacks the member \"values\""));
        assert_eq!(bench.intake.tally().shown()[0].count, 3);
    });
}

#[test]
fn the_parameters_of_a_connection_are_checked_before_it_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let schema = r#"{ "properties": { "device": { "maxLength": 3 } } }"#;
    with(server(&folder, schema, Mode::Connection), async |bench| {
        assert_eq!(bench.ask("POST", "/r/abc", "", "").await.0, 200);
        let told = r#"{"error":"/device must have at most 3 characters","pointer":"/device"}"#;
        assert_eq!(bench.ask("POST", "/r/abcd", "", "").await, (400, told.to_owned()));
        let url = format!("ws://{}/r/abcd", bench.address);
        let refused = async_tungstenite::client_async(url, bench.connect().await).await;
        assert!(refused.unwrap_err().to_string().contains("400"));
    });
}

#[test]
fn a_schema_that_cannot_be_used_ends_the_start_with_its_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let start = |schema: &str| smol::block_on(bind(&server(&folder, schema, Mode::Data), &[])).err().unwrap();
    let file = folder.path().join("reading.json");
    let begin = format!("cannot use the schema of the route /r/{{device}}: {}", file.display());
    let wrong = start(r#"{ "properties": { "t": { "type": "float" } } }"#);
    let expected = format!("{begin}#/properties/t/type: must be a type or a list of types (server sensors)");
    assert_eq!(wrong, expected);
    assert!(start("{").contains("as JSON: EOF while parsing an object at line 1 column 1"));
    assert!(start(r#"{ "$ref": "none.json" }"#).contains("#/$ref: cannot read "));
}

#[test]
fn a_costly_message_is_refused_with_what_helps_whether_it_is_posted_or_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = server(&folder, r#"{ "items": { "pattern": "(a|aa){1,200}b" } }"#, Mode::Data);
    server.limits.message_bytes = 65_536;
    with(server, async |bench| {
        let message = format!("[\"{}\"]", "a".repeat(60_000));
        let words = "/0 is too long to be matched with (a|aa){1,200}b: ";
        let (status, error) = bench.post("/r/a", &message).await;
        assert!(status == 400 && error.contains(words), "{error}");
        let mut socket = bench.web_socket("/r/a?confirm=1").await;
        socket.send(Message::text(message)).await.unwrap();
        let told = socket.next().await.unwrap().unwrap().into_text().unwrap();
        assert!(told.contains(words) && told.contains("\"refused\":1"), "{told}");
    });
}
