//! Priorities: each has a lane of its own on every link, which is an outlet of its own in the store, so that an alarm never
//! waits behind telemetry. Pure names and places.

use crate::ids::OutletId;

/// Number of priorities: 0 to 9.
pub const PRIORITIES: usize = 10;
/// Name of the broker's outlet in the store.
pub const MQTT: &str = "mqtt";

/// The name in the store of a client's outlet, in small letters like its id.
pub fn of_client(id: &str) -> String {
    format!("client:{}", id.to_lowercase())
}

/// The client that a link's outlet in the store is named after; none for that of the broker.
pub fn client(outlet: &str) -> Option<&str> {
    outlet.strip_prefix("client:")
}

/// The name in the store of a link's outlet for one priority: `client:cloud`, `client:cloud/7`.
pub fn name(link: &str, priority: u8) -> String {
    match priority {
        0 => link.to_owned(),
        _ => format!("{link}/{priority}"),
    }
}

/// The link and the priority that an outlet's name stands for.
pub fn parse(name: &str) -> (&str, u8) {
    let split = name.rsplit_once('/').and_then(|(link, priority)| Some((link, priority.parse().ok()?)));
    split.unwrap_or((name, 0))
}

/// Where a message goes: for each priority, one outlet of every link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes {
    by_priority: Vec<Vec<OutletId>>,
}

impl Routes {
    /// All messages go to these outlets.
    pub fn to(outlets: &[OutletId]) -> Routes {
        Routes { by_priority: vec![outlets.to_vec(); PRIORITIES] }
    }

    /// `lanes` are the outlets of each link with their priorities, rising, the first of priority 0. A priority without a
    /// lane of its own shares that of the next lower one.
    pub fn over(lanes: &[Vec<(u8, OutletId)>]) -> Routes {
        let lane = |lanes: &Vec<(u8, OutletId)>, priority: usize| {
            let below = lanes.iter().rev().find(|(own, _)| usize::from(*own) <= priority);
            below.map(|(_, outlet)| *outlet)
        };
        let of = |priority| lanes.iter().filter_map(|lanes| lane(lanes, priority)).collect();
        Routes { by_priority: (0..PRIORITIES).map(of).collect() }
    }

    /// The outlets for messages of this priority.
    pub fn of(&self, priority: u8) -> &[OutletId] {
        self.by_priority.get(usize::from(priority).min(PRIORITIES - 1)).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_link_and_priority() {
        for (link, priority) in [("client:cloud", 0), ("client:cloud", 7), ("mqtt", 0)] {
            assert_eq!(parse(&name(link, priority)), (link, priority));
        }
    }

    #[test]
    fn a_priority_without_a_lane_shares_that_of_the_next_lower_one() {
        let routes = Routes::over(&[vec![(0, OutletId(0)), (5, OutletId(1))], vec![(0, OutletId(2))]]);
        assert_eq!(routes.of(0), [OutletId(0), OutletId(2)]);
        assert_eq!(routes.of(4), [OutletId(0), OutletId(2)]);
        assert_eq!(routes.of(5), [OutletId(1), OutletId(2)]);
        assert_eq!(routes.of(9), [OutletId(1), OutletId(2)]);
    }
}
