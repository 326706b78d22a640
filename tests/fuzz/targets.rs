//! What is fuzzed, and what must hold for every input. libFuzzer calls these functions, and so does `cargo test` with the
//! corpus and with mutations of it.

use std::path::Path;

use holdfast::outlet::mqtt::packet_stream::PacketStream;
use holdfast::source::server::request::path::Router;
use holdfast::store::group::{Head, MAGIC, Packer, unpack};
use holdfast_core::config::server::Route;
use holdfast_core::config::{Config, ConfigFile, Environment, Overrides};
use holdfast_core::message::Format;
use holdfast_core::source::mqtt::downlink::Downlink;
use holdfast_core::source::mqtt::from_broker::{self, Found};
use holdfast_core::source::mqtt::grant::Grant;
use holdfast_core::source::mqtt::packet::{Packet, Version};
use holdfast_core::source::mqtt::read;
use holdfast_core::source::mqtt::session::{Delivery, Session, Step};
use holdfast_core::wire::{self, Encoding, Frame, PayloadRef};
use smol::future::block_on;

/// Bytes of the stored groups as a damaged disk may give them back. Mutations would hardly ever guess a checksum, so the
/// first byte says how far behind it they start.
pub fn group(bytes: &[u8]) {
    let Some((depth, bytes)) = bytes.split_first() else { return };
    let values = match depth % 3 {
        0 => Some(vec![bytes.to_vec()]),
        1 => checksummed(bytes),
        _ => inflatable(bytes),
    };
    if let Some(entries) = values.and_then(|values| unpack(&values).ok()) {
        let groups = Packer::default().pack(1, None, &entries).expect("what was unpacked can be packed");
        let again: Vec<_> =
            groups.iter().flat_map(|group| unpack(&group.values).expect("it is sound")).collect();
        assert_eq!(again, entries);
    }
}

/// A value with the header and the body that the bytes say.
fn checksummed(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (header, body) = bytes.split_at_checked(62)?;
    let head = Head::guess_at(&[&MAGIC, header].concat())?;
    let head = Head { body_len: u16::try_from(body.len()).ok().filter(|length| *length < 7_000)?, ..head };
    let value = head.value(body);
    assert_eq!(Head::check(&value), Ok(head));
    Some(vec![value])
}

/// The values of a group whose entries are the bytes, from the fourth on. The first say which numbers it covers.
fn inflatable(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    const PART: usize = 500;
    let ([first, count, in_parts], raw) = bytes.split_first_chunk()?;
    let length = u16::try_from(raw.len()).ok()?;
    // One stored block (RFC 1951 §3.2.4).
    let packed = [&[1], &length.to_le_bytes()[..], &(!length).to_le_bytes(), raw].concat();
    let chunks: Vec<&[u8]> = packed.chunks(if in_parts & 1 == 1 { PART } else { 6_000 }).collect();
    let head = Head {
        first: u64::from(*first),
        last: u64::from(*first) + u64::from(*count),
        raw_len: u32::from(length),
        parts: u16::try_from(chunks.len()).ok()?,
        ..Head::default()
    };
    let value = |(part, body): (usize, &&[u8])| {
        let part = u16::try_from(part).expect("there are no more than `parts`");
        let body_len = u16::try_from(body.len()).expect("a chunk is small");
        Head { part, body_len, ..head }.value(body)
    };
    Some(chunks.iter().enumerate().map(value).collect())
}

/// What a peer sends to an agent, or an agent to the reference receiver, as a text frame and as a binary one.
pub fn frame(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).ok().map(PayloadRef::Text);
    for payload in text.into_iter().chain([PayloadRef::Binary(bytes)]) {
        answer_in(payload);
        frame_in(payload);
        let mut line = Vec::new();
        wire::write_raw_line(&mut line, payload);
        assert_line(&line);
    }
}

const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Cbor];

fn answer_in(payload: PayloadRef<'_>) {
    let Some((answer, epoch)) = wire::parse_answer(payload) else { return };
    for encoding in ENCODINGS {
        let again = wire::encode_answer(&answer, epoch.as_deref(), encoding);
        assert_eq!(wire::parse_answer(again.view()), Some((answer.clone(), epoch.clone())));
    }
}

fn frame_in(payload: PayloadRef<'_>) {
    let Some(frame) = wire::parse_frame(payload) else { return };
    for encoding in ENCODINGS {
        let again = wire::encode(&frame, encoding);
        assert_eq!(wire::parse_frame(again.view()).map(trimmed), Some(trimmed(frame.clone())));
    }
    let Frame::Messages { epoch, messages } = &frame else { return };
    for item in messages {
        let mut line = Vec::new();
        wire::write_line(&mut line, epoch, item);
        assert_line(&line);
    }
}

/// White space around a JSON value may be lost.
fn trimmed(mut frame: Frame) -> Frame {
    if let Frame::Messages { messages, .. } = &mut frame {
        for item in messages.iter_mut().filter(|item| item.format == Format::Json) {
            item.payload = item.payload.trim_ascii().to_owned();
        }
    }
    frame
}

/// One line of JSON, whatever was in the frame.
fn assert_line(line: &[u8]) {
    assert!(!line.contains(&b'\n'), "{}", line.escape_ascii());
    let value: Result<&serde_json::value::RawValue, _> = serde_json::from_slice(line);
    assert!(value.is_ok(), "{}: {value:?}", line.escape_ascii());
}

/// Parts a configuration of one file from what lies beside it.
const NEXT_FILE: &str = "\n#---\n";

/// A configuration of one file or several: what is accepted is shown so that it can be read back from one.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let env = |name: &str| (name == "STAGE").then(|| "plant".to_owned());
    let environment = Environment { host_name: "pi", data_dir: Path::new("/var/lib/holdfast"), env: &env };
    let parse = |text: &str| {
        let files = text.split(NEXT_FILE).enumerate().map(|(number, text)| {
            let name = if number == 0 { "holdfast.toml".to_owned() } else { format!("conf.d/{number}.toml") };
            ConfigFile { path: Path::new("/etc/holdfast").join(name), text: text.to_owned() }
        });
        Config::parse_all(&files.collect::<Vec<_>>(), &Overrides::default(), &environment)
    };
    match parse(text) {
        Err(errors) => assert!(!errors.to_string().is_empty()),
        Ok(config) => {
            let shown = config.render(&environment);
            let again = parse(&shown).unwrap_or_else(|errors| panic!("{shown}\n{errors}"));
            // Three stars stand for a secret.
            if !shown.contains("***") {
                // Rendering has every key under its new name.
                assert_eq!(again, Config { deprecated: Vec::new(), ..config }, "{shown}");
            }
        }
    }
}

/// A route, its topic and its device, each a line, then the path and the query of a request.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let mut next = || lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
    let (route, topic, device) = (next(), next(), next());
    let routes = route.map(|path| Route { topic, device, ..Route::of_path(&path) });
    let Ok(router) = Router::new(routes.as_slice(), Default::default()) else { return };
    let (path, query) = (next().unwrap_or_default(), next());
    if let Ok(target) = router.target(&path, query.as_deref(), &Default::default()) {
        let is_name = |text: &str| !text.is_empty() && !text.contains(['+', '#', '\0']) && text.len() <= 512;
        assert!(is_name(&target.topic), "{target:?}");
        assert!(
            target.device.as_deref().is_none_or(|device| is_name(device) && !device.contains('/')),
            "{target:?}"
        );
    }
}

/// What a broker sends.
pub fn packet(bytes: &[u8]) {
    for version in [Version::V311, Version::V5] {
        let mut stream = PacketStream::new(smol::io::Cursor::new(bytes.to_vec()), version);
        while block_on(stream.next()).is_ok() {}
    }
}

/// Largest packet that is read.
const PACKET_MAX: usize = 2048;

/// The version that the first byte says, none for bytes that begin with CONNECT, and the rest.
fn versioned(bytes: &[u8]) -> Option<(Option<Version>, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    Some((([None, Some(Version::V311), Some(Version::V5)])[usize::from(first % 3)], rest))
}

/// What a sensor sends over MQTT, up to its first fault.
pub fn sensor(bytes: &[u8]) {
    let Some((mut version, mut rest)) = versioned(bytes) else { return };
    let grant = Grant::of(&["#".to_owned()], "sensor", None);
    let (mut session, mut downlink) = (Session::new(Version::V5, 3), Downlink::new(Version::V5));
    while let Ok(Some((packet, length))) = read::packet(rest, version, PACKET_MAX) {
        assert!((2..=rest.len()).contains(&length), "{length} of {}", rest.len());
        let alone = read::packet(&rest[..length], version, PACKET_MAX);
        assert_eq!(alone, Ok(Some((packet.clone(), length))), "what follows changes it");
        rest = &rest[length..];
        if let Packet::Connect(connect) = packet {
            version = Some(connect.version);
            session = Session::new(connect.version, 3);
            continue;
        }
        match session.take(packet) {
            Err(_) => return,
            Ok(Step::Offer(publish)) => {
                assert!(
                    !publish.topic.is_empty() && !publish.topic.contains(['+', '#', '\0']),
                    "{publish:?}"
                );
                session.stored(Delivery::of(&publish));
            }
            Ok(Step::Subscribe(subscribe)) => {
                let codes = downlink.subscribe(&grant, &subscribe);
                assert_eq!(codes.len(), subscribe.filters.len());
            }
            Ok(Step::Unsubscribe(_, filters)) => {
                assert_eq!(downlink.unsubscribe(&filters).len(), filters.len());
            }
            Ok(Step::Acknowledged(id)) => downlink.acknowledged(id),
            Ok(Step::Nothing | Step::Reply(_) | Step::Leave { .. }) => {}
        }
    }
}

/// What a broker sends to the one that reads from it, up to its first fault.
pub fn broker(bytes: &[u8]) {
    let Some((Some(version), mut rest)) = versioned(bytes) else { return };
    while let Ok(Some((found, length))) = from_broker::packet(rest, version, PACKET_MAX) {
        match found {
            Found::Packet(_) => assert!((2..=rest.len()).contains(&length), "{length} of {}", rest.len()),
            Found::TooLarge(_) => assert!(length > PACKET_MAX),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
}
