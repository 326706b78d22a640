//! Which subprotocol a WebSocket of a server speaks (RFC 6455 §4.2.2).

use crate::wire::SUBPROTOCOL;

/// The subprotocol that is selected: the first of `wanted` that is offered, or without such a list the first one that is offered at
/// all. One that was not offered is never selected.
///
/// A server acknowledges nothing in the way of `holdfast.v1`, so that one is passed over.
pub fn select<'a>(wanted: Option<&[String]>, offered: &[&'a str]) -> Option<&'a str> {
    let mut offered = offered.iter().copied().filter(|name| *name != SUBPROTOCOL);
    match wanted {
        None => offered.next(),
        Some(wanted) => {
            let offered: Vec<_> = offered.collect();
            wanted.iter().find_map(|name| offered.iter().copied().find(|offer| offer == name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_offer_is_selected_unless_the_route_has_a_list_and_never_one_that_was_not_offered() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(select(None, &["ocpp2.0.1", "ocpp1.6"]), Some("ocpp2.0.1"));
        assert_eq!(select(None, &[]), None);
        let wanted = list(&["ocpp1.6", "ocpp2.0.1"]);
        assert_eq!(select(Some(&wanted), &["x", "ocpp2.0.1", "ocpp1.6"]), Some("ocpp1.6"));
        assert_eq!(select(Some(&wanted), &["OCPP1.6", "x"]), None, "case counts");
        assert_eq!(select(Some(&wanted), &[]), None);
        assert_eq!(select(Some(&[]), &["x"]), None);
    }

    #[test]
    fn acknowledgements_are_not_promised() {
        assert_eq!(select(None, &["holdfast.v1"]), None);
        assert_eq!(select(None, &["holdfast.v1", "other"]), Some("other"));
    }
}
