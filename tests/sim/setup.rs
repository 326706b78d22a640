//! What the agent of a seed is made of: links of every kind, small windows, small bounds.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::agent::{LinkSetup, MqttSetup, Setup};
use holdfast_core::config::address::Balance;
use holdfast_core::config::agent::Presence;
use holdfast_core::config::buffer::{Buffer, BufferLimits, WhenFull};
use holdfast_core::config::client::{Client, Confirm, Ping, Reconnect};
use holdfast_core::config::host::Host;
use holdfast_core::config::link_kind::LinkKind;
use holdfast_core::config::mqtt::Mqtt;
use holdfast_core::config::replay::{Order, Rate, Replay, Share};
use holdfast_core::link::LinkRule;
use holdfast_core::link::endpoint::EndpointRule;
use holdfast_core::seed::Seed;
use holdfast_core::wire::ENVELOPE_BYTES_MAX;

/// Messages in flight to the broker.
pub const MQTT_WINDOW: usize = 10;

/// What the agent of a seed is made of.
pub fn setup(seed: &mut Seed, bounded: bool) -> Setup {
    // Now and then a whole crowd, which has to share the disk.
    let count = if seed.below(400) == 0 { 8 + seed.below(24) } else { 1 + seed.below(2) };
    let mut links: Vec<LinkSetup> = (0..count).map(|n| link(n, seed)).collect();
    let rule = rule(Confirm::Ack, seed);
    let mqtt = (seed.below(2) == 0).then(|| MqttSetup {
        rule,
        window: MQTT_WINDOW,
        prefix: "p".to_owned(),
        status_interval: Duration::from_secs(30),
        table: Arc::new(Mqtt::of_url("mqtt://hub", "sim")),
    });
    let when_full = if bounded { some_when_full(seed) } else { WhenFull::DropOldest };
    let buffer = Buffer {
        max_bytes: if bounded && seed.below(2) == 0 { 5_050_000 } else { 1 << 30 },
        max_messages: if bounded { 60 } else { 0 },
        ttl: Duration::from_secs(if seed.below(3) == 0 { 3 + seed.below(40) } else { 0 }),
        when_full,
        commit_after: Duration::from_millis(250),
        daily_budget: None,
        last_values: 10,
    };
    for link in &mut links {
        // Where one link refuses what another one drops, who is told what is still the truth.
        let when_full = (bounded && seed.below(2) == 0).then(|| some_when_full(seed));
        link.place = BufferLimits { when_full, ..BufferLimits::default() };
    }
    let priorities = vec![0];
    let presence =
        Presence { offline_after: Duration::from_secs(30), max_devices: 100, max_devices_per_ip: 0 };
    let host = Host::default();
    let (agent, version) = ("sim".into(), "0".into());
    let (proven, new_epochs) = (Vec::new(), Vec::new());
    Setup {
        agent,
        version,
        links,
        proven,
        priorities,
        mqtt,
        sources: Vec::new(),
        buffer,
        presence,
        host,
        new_epochs,
        run: 0,
        seed: 0,
    }
}

fn some_when_full(seed: &mut Seed) -> WhenFull {
    [WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::Reject]
        [usize::try_from(seed.below(3)).expect("small")]
}

/// In order more often than not; never out of order where a number stands for all before it.
fn replay(confirm: Confirm, seed: &mut Seed) -> Replay {
    let messages = if seed.below(4) == 0 { 20 + seed.below(200) } else { 0 };
    let max_rate = Rate { messages, bytes: 0 };
    if confirm == Confirm::Ack || seed.below(2) == 0 {
        return Replay { max_rate, ..Replay::default() };
    }
    let live_share = Share([0, 250, 500, 1000][usize::try_from(seed.below(4)).expect("small")]);
    let order = [Order::Fifo, Order::NewestFirst][usize::try_from(seed.below(2)).expect("small")];
    Replay { max_rate, live_share, order }
}

/// Every fourth link posts batches.
fn link(n: u64, seed: &mut Seed) -> LinkSetup {
    let own = web_socket_link(n, seed);
    if own.window % 4 != 3 {
        return own;
    }
    let ping = Ping { interval: Duration::ZERO, ..own.rule.ping };
    let rule = LinkRule { kind: LinkKind::Http, confirm: Confirm::Ack, ping, ..own.rule };
    LinkSetup { rule, hello: false, ..own }
}

fn web_socket_link(n: u64, seed: &mut Seed) -> LinkSetup {
    let confirm = [Confirm::Pong, Confirm::Pong, Confirm::Ack, Confirm::None];
    let confirm = confirm[usize::try_from(seed.below(4)).expect("small")];
    let hello = confirm == Confirm::Ack || (confirm == Confirm::Pong && seed.below(2) == 0);
    let window = usize::try_from(1 + seed.below(40)).expect("small");
    LinkSetup {
        id: format!("l{n}"),
        rule: LinkRule { endpoints: endpoints(window), ..rule(confirm, seed) },
        window,
        hello,
        frame_bytes: ENVELOPE_BYTES_MAX,
        place: BufferLimits::default(),
        replay: replay(confirm, seed),
        trial: Duration::ZERO,
        places: Vec::new(),
        application: String::new(),
        table: Arc::new(Client::of_index(0)),
    }
}

/// One to three urls of one receiver.
fn endpoints(window: usize) -> EndpointRule {
    let balance = if window.is_multiple_of(5) { Balance::RoundRobin } else { Balance::Failover };
    EndpointRule { count: 1 + window % 3, balance, prefer_after: Duration::from_secs(1) }
}

fn rule(confirm: Confirm, seed: &mut Seed) -> LinkRule {
    LinkRule {
        kind: LinkKind::WebSocket,
        active: true,
        confirm,
        ping: Ping { interval: Duration::from_secs(1 + seed.below(20)), timeout: Duration::from_secs(5) },
        reconnect: Reconnect {
            min: Duration::from_millis(100 + seed.below(2000)),
            max: Duration::from_secs(10),
            stable_after: Duration::from_secs(5),
            ..Reconnect::default()
        },
        endpoints: EndpointRule::single(),
        connect_timeout: Duration::from_secs(3),
        confirm_timeout: Duration::from_secs(8),
        client_id: None,
    }
}
