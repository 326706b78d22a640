//! The last will of a client: a message like others, and the word that its device is gone.

use std::rc::Rc;
use std::time::Duration;

use holdfast_core::source::intake::{Answer, Draft};
use holdfast_core::source::mqtt::greeting;
use holdfast_core::source::mqtt::packet;
use holdfast_core::source::mqtt::reason::Closing;
use holdfast_core::source::mqtt::sessions::Owner;
use smol::Timer;
use smol::future::or;

use super::super::ServerState;
use super::super::access::peer::Peer;
use super::super::request::path;
use super::batch::Batch;

/// Pause before a will that finds the loop busy is offered again.
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// How often it is.
const BUSY_TRIES: u32 = 59;

/// A will that is as it has to be.
pub struct Will {
    drafts: Vec<Draft>,
    device: Option<String>,
    delay_s: u32,
}

impl Will {
    /// The will of CONNECT. The error says why it would be refused.
    pub fn new(site: &ServerState, peer: &Peer, will: packet::Will) -> Result<Will, Closing> {
        let mut message = Batch::default();
        message.push(site, will.publish);
        if let Some((_, why)) = message.unfit {
            return Err(why);
        }
        // It is held as long as the connection.
        peer.share.hold(message.weight());
        let drafts = message.take_drafts();
        let device = drafts.first().and_then(|draft| draft.device.clone());
        Ok(Will { drafts, device, delay_s: will.delay_s })
    }
}

/// The devices that a connection speaks for: the one that its will is about, and the one with the name of its client identifier.
pub fn devices(will: Option<&Will>, client_id: &str) -> Vec<String> {
    let own = Some(client_id).filter(|id| path::is_device(id)).map(str::to_owned);
    let of_will = will.and_then(|will| will.device.clone()).filter(|device| own.as_ref() != Some(device));
    of_will.into_iter().chain(own).collect()
}

/// Publishes the will of a client that is gone, after its delay if the client does not come back before.
pub async fn publish(site: &Rc<ServerState>, peer: &Rc<Peer>, will: Will, owner: &Owner, expiry: Duration) {
    let delay = greeting::will_delay(will.delay_s, expiry);
    let place = if delay.is_zero() { None } else { site.delayed.take() };
    // Without a place for one more that waits it is published at once.
    let Some(place) = place else { return offer(site, peer, will).await };
    let (site, peer, owner) = (site.clone(), peer.clone(), owner.clone());
    let executor = site.executor.clone();
    let waiting = async move {
        let elapsed = async {
            Timer::after(delay).await;
            true
        };
        let stopping = async {
            site.intake.stopping().await;
            false
        };
        if or(stopping, elapsed).await && !site.clients.is_connected(&owner) {
            offer(&site, &peer, will).await;
        }
        drop(place);
    };
    executor.spawn(waiting).detach();
}

async fn offer(site: &ServerState, peer: &Peer, will: Will) {
    peer.spend(site, 1);
    let from = Some(peer.remote);
    let answer = match site.intake.offer_or_take_back(will.drafts, from).await {
        Ok(answer) => answer,
        Err(drafts) => site.intake.offer_again(drafts, from, BUSY_PAUSE, BUSY_TRIES).await,
    };
    if let Answer::Refused(refused) = answer {
        log::debug!(
            "the will of a sensor is not stored source={} from={}: {refused}",
            site.source,
            peer.remote
        );
    }
    if let Some(device) = &will.device {
        site.intake.departed(device).await;
    }
}
