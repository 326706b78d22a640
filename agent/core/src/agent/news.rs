//! What the broker is told of the agent, its applications and its devices.

use std::collections::BTreeSet;

use super::{Action, Agent, LinkContext, act};
use crate::ids::LinkId;
use crate::link::protocol::{LinkOrder, Publication};
use crate::observe::log_event::LogEvent;
use crate::observe::status::{self, Farewell};
use crate::outlet::buffer::BufferState;
use crate::outlet::lane::Routes;
use crate::outlet::queue::OutletQueue;
use crate::time::Now;

impl Agent {
    /// Queues the news of a device for the broker.
    pub(crate) fn notify(&mut self, now: Now, device: &str, out: &mut Vec<Action>) {
        let online = self.presence.devices().get(device).is_some_and(|known| known.online);
        out.push(Action::Note(LogEvent::Device { device: device.to_owned(), online }));
        self.queue_state(now, device, out);
    }

    fn queue_state(&mut self, now: Now, device: &str, out: &mut Vec<Action>) {
        let (Some(line), Some(mqtt)) = (self.mqtt_line(), self.setup.mqtt.as_ref()) else { return };
        let Some(draft) = status::device_news(&mqtt.prefix, device, &self.presence) else { return };
        // Without a place yet it is told everything once it is up.
        let Some((_, outlet)) = self.links[line].lanes.first() else { return };
        let mut effects = Vec::new();
        let routes = Routes::to(&[*outlet]);
        if self.buffer.offer(now, None, vec![draft], None, &routes, &mut effects).is_some() {
            self.announced = Some(String::new());
        }
        act(effects, out);
    }

    /// On a new connection to the broker, which may have forgotten everything, and after news that could not be queued or became
    /// too old on a slow line, tells the state of every device; after what was held for it, so that the last word is the newest.
    pub(crate) fn announce(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(line) = self.mqtt_line().filter(|_| self.mqtt_is_up()) else { return };
        let expired =
            self.links[line].lanes.iter().map(|(_, outlet)| self.buffer.expired_unsent(*outlet)).sum();
        if std::mem::replace(&mut self.news_expired, expired) < expired {
            self.announced = Some(String::new());
        }
        let has_room = matches!(self.buffer.state(), BufferState::Empty | BufferState::Holding);
        if self.announced.is_none()
            || !self.queues(line).all(OutletQueue::is_drained)
            || self.buffer.is_starting()
            || !has_room
        {
            return;
        }
        let after = self.announced.take().unwrap_or_default();
        let rest = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let window = self.links[line].window;
        let next: Vec<String> =
            self.presence.devices().range(rest).take(window).map(|(id, _)| id.clone()).collect();
        self.announced = next.last().cloned();
        next.iter().for_each(|device| self.queue_state(now, device, out));
    }

    /// Publishes the status if it is due. Returns whether the machine must be looked at first.
    pub(crate) fn publish_status(&mut self, now: Now, out: &mut Vec<Action>) -> bool {
        let (Some(link), Some(mqtt)) = (self.mqtt_line(), self.setup.mqtt.as_ref()) else { return false };
        let digest = status::digest(self);
        if !self.mqtt_is_up() || !self.status.is_due(now.mono, digest) {
            return false;
        }
        if self.host.is_stale(now.mono) {
            return true;
        }
        self.status.published(now.mono, digest, mqtt.status_interval);
        let (prefix, payload) = (mqtt.prefix.clone(), status::message(self, now));
        self.publish_applications(link, &prefix, |agent, name| status::of_application(agent, name, now), out);
        out.push(publish(link, format!("{prefix}/status"), payload));
        false
    }

    /// Says goodbye to the broker: that the agent and its applications are not here any more.
    pub(crate) fn publish_farewell(&mut self, out: &mut Vec<Action>) {
        let (Some(link), Some(mqtt)) = (self.mqtt_line().filter(|_| self.mqtt_is_up()), &self.setup.mqtt)
        else {
            return;
        };
        let prefix = mqtt.prefix.clone();
        self.publish_applications(
            link,
            &prefix,
            |agent, _| status::last_words(agent, Farewell::Stopped),
            out,
        );
        out.push(publish(link, format!("{prefix}/status"), status::last_words(self, Farewell::Stopped)));
    }

    /// Tells how each application is; one that no link belongs to any more is taken back.
    fn publish_applications(
        &mut self,
        link: LinkId,
        prefix: &str,
        payload: impl Fn(&Agent, &str) -> Vec<u8>,
        out: &mut Vec<Action>,
    ) {
        let names = self.links.iter().filter_map(LinkContext::own).map(|own| own.application.clone());
        let names: BTreeSet<String> = names.filter(|name| !name.is_empty()).collect();
        let topic = |name: &str| format!("{prefix}/applications/{name}/status");
        // An empty retained message clears a topic (MQTT 3.1.1, 3.3.1.3).
        let gone = self.applications.difference(&names).map(|name| publish(link, topic(name), Vec::new()));
        out.extend(gone);
        out.extend(names.iter().map(|name| publish(link, topic(name), payload(self, name))));
        self.applications = names;
    }
}

fn publish(link: LinkId, topic: String, payload: Vec<u8>) -> Action {
    Action::Tell { link, order: LinkOrder::Publish(Publication { topic, payload }) }
}
