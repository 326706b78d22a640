//! Tests a connection step by step, on the same way that the agent goes, without the agent.

use holdfast_core::clocks::PROGRAM_EXISTS_NS;
use holdfast_core::config::client::Client;
use holdfast_core::config::link_kind::LinkKind;
use holdfast_core::config::mqtt::Mqtt;
use holdfast_core::config::shown_url;
use holdfast_core::ids::EndpointId;
use holdfast_core::link::probe::{Failed, FinishedStep};
use holdfast_core::link::protocol::Refusal;

use crate::net::{DialTrace, StepWatch};
use crate::os::clock;
use crate::outlet::{http, mqtt, uplink};

/// What a test has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Id of the client, or `mqtt`.
    pub id: String,
    /// Where it leads, secrets hidden.
    pub url: String,
    /// The steps that were done, in order.
    pub done: Vec<FinishedStep>,
    /// The one that failed; nothing was tried behind it.
    pub failed: Option<Failed>,
    /// Days until the certificate of the peer ends, if it showed one.
    pub certificate_days_left: Option<i64>,
}

/// Tests one url of a link. Ends within its `connect_timeout`, and its ping's timeout or its `confirm_timeout`.
pub async fn link(client: &Client, endpoint: EndpointId, watch: StepWatch) -> Probe {
    let stage = DialTrace::watched(watch);
    let outcome = match client.kind() {
        LinkKind::WebSocket => uplink::test(client, endpoint, &stage).await,
        LinkKind::Http => http::test(client, endpoint, &stage).await,
        LinkKind::Mqtt => mqtt::test_link(client, endpoint, &stage).await,
    };
    let url = client.endpoints().get(endpoint.0).map(|url| shown_url(url)).unwrap_or_default();
    conclude(client.id.clone(), url, stage, outcome)
}

/// Tests the MQTT broker. Ends within the deadline of a connection and its `keep_alive`.
pub async fn broker(table: &Mqtt, watch: StepWatch) -> Probe {
    let stage = DialTrace::watched(watch);
    let outcome = mqtt::test(table, &stage).await;
    conclude("mqtt".to_owned(), shown_url(&table.url), stage, outcome)
}

/// What a test has found that this trace followed.
pub fn conclude(id: String, url: String, stage: DialTrace, outcome: Result<(), Refusal>) -> Probe {
    let failed = outcome.err().map(|refusal| {
        let clock_is_wrong = clock::now().wall_ns < PROGRAM_EXISTS_NS;
        Failed::new(stage.step(), refusal, stage.took(), clock_is_wrong)
    });
    let certificate_days_left = stage.certificate_days_left();
    Probe { id, url, done: stage.done(failed.is_none()), failed, certificate_days_left }
}
