//! `may_subscribe`: the topics that clients of an MQTT server may read.

use super::access::LoginBy;
use super::route::names_in;
use super::server::{Protocol, Server};
use super::table::{Reading, Table};
use super::tree::Node;
use super::value;
use crate::topic_filter::TopicFilter;

/// Names that a filter may have.
const NAMES: [&str; 2] = ["client", "user"];

/// Topic filters with the names of a client in them.
pub(super) fn filters(node: &Node, reading: &Reading) -> Result<Vec<String>, String> {
    let filters = value::strings(node, reading)?;
    for filter in &filters {
        if let Some(name) = names_in(filter)?.into_iter().find(|name| !NAMES.contains(name)) {
            return Err(format!("has no value for `{name}`, only for {}", NAMES.join(", ")));
        }
        // A name is one level, or a part of one.
        TopicFilter::mqtt(&filter.replace(['{', '}'], ""))?;
    }
    Ok(filters)
}

/// Whether it stands where it means something.
pub(super) fn check(server: &Server, table: &Table) {
    let names_user = |filters: &Vec<String>| filters.iter().any(|filter| filter.contains("{user}"));
    match server.protocol {
        Protocol::Http => {
            if server.may_subscribe.is_some() {
                table.fail("may_subscribe", "needs protocol = \"mqtt\"; WebSockets have `subscribe`");
            }
            if server.access.users.iter().any(|user| user.may_subscribe.is_some()) {
                table.fail("users", "have `may_subscribe`, which needs protocol = \"mqtt\"");
            }
        }
        Protocol::Mqtt => {
            let is_anonymous = server.access.auth == LoginBy::Anonymous;
            if is_anonymous && server.may_subscribe.as_ref().is_some_and(names_user) {
                table
                    .fail("may_subscribe", "names `{user}`, but nobody has a name with auth = \"anonymous\"");
            }
        }
    }
}
