//! What people want to know of a step: one line per state change, for the log.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::link::backoff::WaitReason;
use crate::link::mqtt::terms::Terms;
use crate::link::probe::UNECHOED;
use crate::reload::Reloaded;

/// Something worth a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// A link came up.
    LinkUp {
        /// Its name.
        link: String,
        /// The peer's address.
        peer: String,
        /// Messages that wait for it.
        held: u64,
        /// How MQTT is spoken with it.
        terms: Option<Terms>,
    },
    /// A link was lost.
    LinkLost {
        /// Its name.
        link: String,
        /// What happened.
        error: String,
        /// Time until the next try; none if there is none.
        retry_in: Option<Duration>,
        /// Why it is as long as it is.
        because: WaitReason,
    },
    /// A link could not be made; `again` when the try before failed in the same way.
    LinkRefused {
        /// Its name.
        link: String,
        /// What happened.
        error: String,
        /// Time until the next try; none if there is none.
        retry_in: Option<Duration>,
        /// Why it is as long as it is.
        because: WaitReason,
        /// The same as the last time.
        again: bool,
    },
    /// A link leaves its url for one that stands before it, which works again.
    LinkMoves {
        /// Its name.
        link: String,
    },
    /// The settings of a link that were on trial gave way to those before them.
    RolledBack {
        /// Its name.
        link: String,
        /// Why.
        why: String,
    },
    /// A configuration was taken over, or has nothing new.
    Reloaded(Reloaded),
    /// A configuration was not taken over.
    ReloadFailed(String),
    /// The peer did something that the protocol does not foresee.
    PeerOdd {
        /// The link's name.
        link: String,
        /// What it did.
        what: String,
    },
    /// The peer refused a message.
    Refused {
        /// The link's name.
        link: String,
        /// Its number.
        seq: u64,
        /// The peer's words.
        reason: String,
        /// Messages that were set aside since the start, with this one.
        dead: u64,
        /// Another one was told a short while ago.
        again: bool,
    },
    /// The broker refuses the status, or another state that is not numbered; `again` when that was told before.
    StateRefused {
        /// The link's name.
        link: String,
        /// The topic and the broker's words.
        reason: String,
        /// It was told before.
        again: bool,
    },
    /// The peer answers pings, and not with what they hold; `again` when it was told before.
    Unechoed {
        /// The link's name.
        link: String,
        /// It was told before.
        again: bool,
    },
    /// The peer's closing shows that it takes no frames as large as it was sent.
    FrameLimit {
        /// The link's name.
        link: String,
        /// Bytes of an envelope from here on.
        bytes: usize,
    },
    /// The peer closes after a message again and again, and nothing shows that it takes any other.
    Blocked {
        /// The link's name.
        link: String,
        /// The message's number.
        seq: u64,
        /// The peer's words.
        reason: String,
    },
    /// The oldest messages were given up.
    DroppedOldest {
        /// The outlet that lost them.
        outlet: String,
        /// How many.
        messages: u64,
        /// First number of the gap.
        from: u64,
        /// Last number of the gap.
        to: u64,
    },
    /// Messages were given up because they became too old.
    Expired {
        /// The outlet that lost them.
        outlet: String,
        /// How many.
        messages: u64,
        /// First number of the gap.
        from: u64,
        /// Last number of the gap.
        to: u64,
    },
    /// There is no link to send anything over.
    NoLink {
        /// A client that has only to be made active.
        inactive: Option<String>,
    },
    /// Messages are held in a place that no client has.
    LeftBehind {
        /// Its name, as a client names it.
        outlet: String,
    },
    /// People gave up what an outlet held.
    Purged {
        /// The outlet.
        outlet: String,
        /// How many messages.
        messages: u64,
        /// First number of the gap.
        from: u64,
        /// Last number of the gap.
        to: u64,
    },
    /// The buffer reached its bound, or left it.
    BufferFull(bool),
    /// The file system gives less than `max_bytes`, or gives all of it again.
    Bound {
        /// The bound in force.
        bytes: u64,
        /// That of the configuration.
        configured: u64,
    },
    /// The store takes nothing.
    StoreFailing {
        /// Why.
        error: String,
    },
    /// The store gives out what it has, and takes nothing.
    StoreReadOnly {
        /// Why.
        error: String,
    },
    /// The store can be written again, by another life of the agent.
    StartsAnew,
    /// The store works again.
    StoreRecovered,
    /// A device's presence changed.
    Device {
        /// Its id.
        device: String,
        /// Online or offline.
        online: bool,
    },
}

/// A fact of an event, for programs.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Number(u64),
    /// A time in seconds.
    Seconds(f64),
    /// There is none.
    Nothing,
}

/// How loud a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something that was asked for and could not be done.
    Error,
    /// Something that needs a person.
    Warn,
    /// A state change.
    Info,
    /// What a peer can repeat at will.
    Debug,
}

impl LogEvent {
    /// How loud it is.
    pub fn level(&self) -> Level {
        match self {
            LogEvent::ReloadFailed(_) => Level::Error,
            LogEvent::StoreFailing { .. }
            | LogEvent::StoreReadOnly { .. }
            | LogEvent::BufferFull(true)
            | LogEvent::RolledBack { .. }
            | LogEvent::LinkLost { .. }
            | LogEvent::LeftBehind { .. }
            | LogEvent::LinkRefused { again: false, .. }
            | LogEvent::Refused { again: false, .. }
            | LogEvent::Unechoed { again: false, .. }
            | LogEvent::StateRefused { again: false, .. }
            | LogEvent::Blocked { .. } => Level::Warn,
            LogEvent::LinkUp { .. }
            | LogEvent::LinkMoves { .. }
            | LogEvent::FrameLimit { .. }
            | LogEvent::NoLink { .. }
            | LogEvent::BufferFull(false)
            | LogEvent::Purged { .. }
            | LogEvent::Bound { .. }
            | LogEvent::Reloaded(_)
            | LogEvent::StartsAnew
            | LogEvent::StoreRecovered => Level::Info,
            LogEvent::LinkRefused { again: true, .. }
            | LogEvent::DroppedOldest { .. }
            | LogEvent::Expired { .. }
            | LogEvent::PeerOdd { .. }
            | LogEvent::Unechoed { again: true, .. }
            | LogEvent::StateRefused { again: true, .. }
            | LogEvent::Refused { again: true, .. }
            | LogEvent::Device { .. } => Level::Debug,
        }
    }
}

impl LogEvent {
    /// Its name for programs: `link_lost`.
    pub fn name(&self) -> &'static str {
        match self {
            LogEvent::LinkUp { .. } => "link_up",
            LogEvent::LinkLost { .. } => "link_lost",
            LogEvent::LinkRefused { .. } => "link_down",
            LogEvent::LinkMoves { .. } => "link_moves",
            LogEvent::RolledBack { .. } => "rolled_back",
            LogEvent::Reloaded(_) => "reload",
            LogEvent::ReloadFailed(_) => "reload_refused",
            LogEvent::PeerOdd { .. } => "peer_odd",
            LogEvent::Refused { .. } => "message_refused",
            LogEvent::Unechoed { .. } => "unechoed",
            LogEvent::StateRefused { .. } => "status_refused",
            LogEvent::FrameLimit { .. } => "frame_limit",
            LogEvent::Blocked { .. } => "blocked",
            LogEvent::DroppedOldest { .. } => "dropped_oldest",
            LogEvent::Expired { .. } => "expired",
            LogEvent::NoLink { .. } => "no_link",
            LogEvent::LeftBehind { .. } => "left_behind",
            LogEvent::Purged { .. } => "purged",
            LogEvent::BufferFull(true) => "buffer_full",
            LogEvent::BufferFull(false) => "buffer_has_room",
            LogEvent::Bound { .. } => "buffer_bound",
            LogEvent::StoreFailing { .. } => "store_failing",
            LogEvent::StoreReadOnly { .. } => "store_read_only",
            LogEvent::StartsAnew => "starts_anew",
            LogEvent::StoreRecovered => "store_recovered",
            LogEvent::Device { .. } => "device",
        }
    }

    /// Its facts by their names, for programs.
    pub fn facts(&self) -> Vec<(&'static str, Fact<'_>)> {
        use Fact::Number;
        match self {
            LogEvent::LinkUp { link, peer, held, terms } => {
                let protocol = terms.map(|terms| ("protocol", Fact::Text(terms.to_string().into())));
                let facts = [("link", text(link)), ("peer", text(peer)), ("held", Number(*held))];
                facts.into_iter().chain(protocol).collect()
            }
            LogEvent::LinkLost { link, error, retry_in, because }
            | LogEvent::LinkRefused { link, error, retry_in, because, .. } => vec![
                ("link", text(link)),
                ("error", text(error)),
                ("retry_in_s", seconds(*retry_in)),
                ("because", retry_in.map_or(Fact::Nothing, |_| text(because.word()))),
            ],
            LogEvent::LinkMoves { link } | LogEvent::Unechoed { link, .. } => vec![("link", text(link))],
            LogEvent::RolledBack { link, why } => vec![("link", text(link)), ("error", text(why))],
            LogEvent::Reloaded(Reloaded { how, changed }) => {
                vec![
                    ("how", Fact::Text(how.to_string().into())),
                    ("changed", Fact::Text(changed.join(",").into())),
                ]
            }
            LogEvent::ReloadFailed(error)
            | LogEvent::StoreFailing { error }
            | LogEvent::StoreReadOnly { error } => vec![("error", text(error))],
            LogEvent::StateRefused { link, reason, .. } => {
                vec![("link", text(link)), ("reason", text(reason))]
            }
            LogEvent::PeerOdd { link, what } => vec![("link", text(link)), ("what", text(what))],
            LogEvent::Refused { link, seq, reason, dead, .. } => vec![
                ("link", text(link)),
                ("seq", Number(*seq)),
                ("reason", text(reason)),
                ("dead", Number(*dead)),
            ],
            LogEvent::LeftBehind { outlet } => vec![("outlet", text(outlet))],
            LogEvent::FrameLimit { link, bytes } => {
                vec![("link", text(link)), ("bytes", Number(*bytes as u64))]
            }
            LogEvent::Blocked { link, seq, reason } => {
                vec![("link", text(link)), ("seq", Number(*seq)), ("reason", text(reason))]
            }
            LogEvent::DroppedOldest { outlet, messages, from, to }
            | LogEvent::Expired { outlet, messages, from, to }
            | LogEvent::Purged { outlet, messages, from, to } => vec![
                ("outlet", text(outlet)),
                ("messages", Number(*messages)),
                ("from", Number(*from)),
                ("to", Number(*to)),
            ],
            LogEvent::Bound { bytes, configured } => {
                vec![("max_bytes", Number(*configured)), ("in_force", Number(*bytes))]
            }
            LogEvent::Device { device, online } => {
                vec![("device", text(device)), ("status", text(if *online { "online" } else { "offline" }))]
            }
            LogEvent::BufferFull(_)
            | LogEvent::NoLink { .. }
            | LogEvent::StartsAnew
            | LogEvent::StoreRecovered => Vec::new(),
        }
    }
}

impl fmt::Display for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogEvent::LinkUp { link, peer, held, terms } => {
                let protocol = terms.map(|terms| format!(" protocol=\"{terms}\"")).unwrap_or_default();
                write!(f, "link up {link} peer={peer} held={held}{protocol}")
            }
            LogEvent::LinkLost { link, error, retry_in, because } => {
                write!(f, "link lost {link} {} error={error:?}", wait(*retry_in, *because))
            }
            LogEvent::LinkRefused { link, error, retry_in, because, .. } => {
                write!(f, "link down {link} {} error={error:?}", wait(*retry_in, *because))
            }
            LogEvent::LinkMoves { link } => {
                write!(f, "link moves {link} to an earlier url, which works again")
            }
            LogEvent::RolledBack { link, why } => write!(f, "client {link}: {why}, back to the old ones"),
            LogEvent::Reloaded(Reloaded { how, changed }) => {
                write!(f, "reload {how} changed={}", changed.join(","))
            }
            LogEvent::ReloadFailed(error) => {
                write!(f, "cannot reload, the configuration in force stays: {error}")
            }
            LogEvent::PeerOdd { link, what } => write!(f, "odd peer {link} {what}"),
            LogEvent::Refused { link, seq, reason, dead, .. } => {
                write!(f, "peer refused a message, set aside {link} seq={seq} reason={reason:?} dead={dead}")
            }
            LogEvent::StateRefused { link, reason, .. } => {
                write!(f, "broker refuses a status {link} reason={reason:?}")
            }
            LogEvent::Unechoed { link, .. } => write!(f, "link holds its messages {link}: {UNECHOED}"),
            LogEvent::FrameLimit { link, bytes } => write!(
                f,
                "peer takes no frames as large as it was sent, envelopes are smaller from here on {link} bytes={bytes}: \
                 `frame_bytes` of the client sets its limit"
            ),
            LogEvent::Blocked { link, seq, reason } => {
                write!(
                    f,
                    "peer takes nothing, all is held {link} seq={seq} reason={reason:?}: it closes after this message and takes no other"
                )
            }
            LogEvent::DroppedOldest { outlet, messages, from, to } => {
                write!(
                    f,
                    "buffer full: dropped the oldest outlet={outlet} messages={messages} from={from} to={to}"
                )
            }
            LogEvent::Expired { outlet, messages, from, to } => {
                write!(f, "too old: gave up outlet={outlet} messages={messages} from={from} to={to}")
            }
            LogEvent::NoLink { inactive } => f.write_str(&no_link(inactive.as_deref())),
            LogEvent::LeftBehind { outlet } => write!(
                f,
                "messages are held for {outlet}, which no client is: one with outlet = \"{outlet}\" sends them"
            ),
            LogEvent::Purged { outlet, messages, from, to } => {
                write!(f, "purged outlet={outlet} messages={messages} from={from} to={to}")
            }
            LogEvent::BufferFull(true) => f.write_str("buffer full"),
            LogEvent::BufferFull(false) => f.write_str("buffer has room again"),
            LogEvent::Bound { bytes, configured } => f.write_str(&bound(*bytes, *configured)),
            LogEvent::StoreFailing { error } => write!(f, "store failing error={error:?}"),
            LogEvent::StoreReadOnly { error } => write!(f, "store read-only error={error:?}"),
            LogEvent::StartsAnew => f.write_str("the store can be written again: starting anew"),
            LogEvent::StoreRecovered => f.write_str("store works again"),
            LogEvent::Device { device, online } => {
                write!(f, "device {} device={device}", if *online { "online" } else { "offline" })
            }
        }
    }
}

fn bound(bytes: u64, configured: u64) -> String {
    if bytes < configured {
        format!("the file system bounds the buffer max_bytes={configured} in_force={bytes}")
    } else {
        format!("the file system has room for the whole buffer max_bytes={configured}")
    }
}

/// What is wrong where no link is active, and what gives the agent one.
fn no_link(inactive: Option<&str>) -> String {
    let what = "no link is active, so nothing is dialled and messages are held";
    match inactive {
        Some(id) => format!("{what}: `holdfast client enable {id}` makes {id} so"),
        None => format!("{what}: `holdfast client add wss://HOST/PATH` makes one"),
    }
}

/// The time until the next try, and why it is as long as it is.
fn wait(retry_in: Option<Duration>, because: WaitReason) -> String {
    match retry_in {
        Some(wait) => format!("retry_in={:.1}s because={}", wait.as_secs_f64(), because.word()),
        None => "retry_in=never".to_owned(),
    }
}

fn text(text: &str) -> Fact<'_> {
    Fact::Text(text.into())
}

fn seconds(retry_in: Option<Duration>) -> Fact<'static> {
    retry_in.map_or(Fact::Nothing, |wait| Fact::Seconds((wait.as_secs_f64() * 10.0).round() / 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(again: bool) -> LogEvent {
        let error = "cannot dial ws://hub: \"no\" route".to_owned();
        LogEvent::LinkRefused {
            link: "cloud".into(),
            error,
            retry_in: Some(Duration::from_millis(1540)),
            because: WaitReason::Login,
            again,
        }
    }

    #[test]
    fn what_a_peer_can_repeat_at_will_is_not_written_to_the_card() {
        let odd = LogEvent::PeerOdd { link: "cloud".into(), what: "acknowledged 9".into() };
        let nack =
            LogEvent::Refused { link: "cloud".into(), seq: 1, reason: "schema".into(), dead: 2, again: true };
        let device = LogEvent::Device { device: "pump".into(), online: true };
        for log_event in [odd, nack, device, refused(true)] {
            assert_eq!(log_event.level(), Level::Debug, "{log_event}");
        }
        assert_eq!(refused(false).level(), Level::Warn);
    }

    #[test]
    fn what_needs_a_person_is_a_warning_and_its_end_is_not() {
        assert_eq!(LogEvent::BufferFull(true).level(), Level::Warn);
        assert_eq!(LogEvent::BufferFull(false).level(), Level::Info);
        let reason = "too big".to_owned();
        let refused =
            LogEvent::Refused { link: "a".into(), seq: 1, reason: reason.clone(), dead: 1, again: false };
        assert_eq!(refused.level(), Level::Warn);
        assert_eq!(LogEvent::Blocked { link: "a".into(), seq: 1, reason }.level(), Level::Warn);
        assert_eq!(LogEvent::StoreFailing { error: "full".into() }.level(), Level::Warn);
        assert_eq!(LogEvent::StoreRecovered.level(), Level::Info);
    }

    #[test]
    fn a_lost_link_is_a_warning_and_tells_programs_when_and_why_it_is_tried_again() {
        let lost = |retry_in| LogEvent::LinkLost {
            link: "cloud".into(),
            error: "cut".into(),
            retry_in,
            because: WaitReason::RetryAfter,
        };
        let minutes = lost(Some(Duration::from_secs(240)));
        assert_eq!((minutes.level(), minutes.name()), (Level::Warn, "link_lost"));
        assert_eq!(minutes.to_string(), "link lost cloud retry_in=240.0s because=retry-after error=\"cut\"");
        let facts = [
            ("link", text("cloud")),
            ("error", text("cut")),
            ("retry_in_s", Fact::Seconds(240.0)),
            ("because", text("retry-after")),
        ];
        assert_eq!(minutes.facts(), facts);
        assert_eq!(lost(None).to_string(), "link lost cloud retry_in=never error=\"cut\"");
        assert_eq!(lost(None).facts()[2..], [("retry_in_s", Fact::Nothing), ("because", Fact::Nothing)]);
    }

    #[test]
    fn the_words_of_a_peer_cannot_start_a_line_of_their_own() {
        let reason = "no\n2026-01-01 INFO all is well".to_owned();
        let line =
            LogEvent::Refused { link: "cloud".into(), seq: 7, reason, dead: 1, again: false }.to_string();
        assert_eq!(line.lines().count(), 1, "{line}");
        let quoted =
            r#"link down cloud retry_in=1.5s because=login error="cannot dial ws://hub: \"no\" route""#;
        assert_eq!(refused(true).to_string(), quoted);
    }
}
