//! What peers send goes to the sensors that have subscribed to it.

use std::rc::Rc;

use super::clients::Clients;
use crate::source::intake::{Delivery, Intake};

/// Hands on what comes until the agent stops. A loss is counted where it happens.
pub async fn run(clients: Rc<Clients>, intake: Intake) {
    let Some(feed) = intake.downlink().await else { return };
    while let Some(delivery) = feed.next().await {
        match delivery {
            Delivery::Message(message) => clients.route(&message),
            Delivery::Dropped(_) => {}
        }
    }
}
