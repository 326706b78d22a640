//! Topics that a client may subscribe to: nothing but what the configuration names, and by default its own.

use std::collections::BTreeMap;

use crate::config::access::LoginBy;
use crate::config::route::expand;
use crate::config::server::Server;
use crate::topic_filter::TopicFilter;

/// By default a client may read its own topics: by the name that it proved, or by the one that it gives itself where none is asked for.
const OWN: [&str; 2] = ["{client}/#", "+/{client}/#"];
const OWN_OF_USER: [&str; 2] = ["{user}/#", "+/{user}/#"];

/// What a server lets its clients read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    all: Vec<String>,
    users: BTreeMap<String, Vec<String>>,
}

impl Grants {
    /// As it is configured.
    pub fn of(server: &Server) -> Grants {
        let own = match server.access.auth {
            LoginBy::Anonymous => OWN,
            LoginBy::Basic | LoginBy::Url => OWN_OF_USER,
        };
        let all = server.may_subscribe.clone().unwrap_or_else(|| own.map(str::to_owned).into());
        let users = server.access.users.iter();
        let users = users.filter_map(|user| Some((user.name.clone(), user.may_subscribe.clone()?)));
        Grants { all, users: users.collect() }
    }

    /// For a client with this identifier and this user.
    pub fn to(&self, client: &str, user: Option<&str>) -> Grant {
        let own = user.and_then(|user| self.users.get(user));
        Grant::of(own.unwrap_or(&self.all), client, user)
    }
}

/// Topic filters of a client, each with everything that it matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant(Vec<TopicFilter>);

impl Grant {
    /// What these templates mean for a client with this identifier and this user. One that names what the client does not have means
    /// nothing, and neither does one whose name would be more than one level or a wildcard: a client chooses its identifier itself.
    pub fn of<'a>(
        templates: impl IntoIterator<Item = &'a String>,
        client: &str,
        user: Option<&str>,
    ) -> Grant {
        let given = [("client", Some(client)), ("user", user)];
        let values: Vec<(String, String)> = given
            .into_iter()
            .filter_map(|(name, value)| {
                Some((name.to_owned(), value.filter(|value| is_level(value))?.to_owned()))
            })
            .collect();
        let filters = templates.into_iter().map(|template| expand(template, &values));
        Grant(
            filters
                .filter(|text| !text.contains('{'))
                .filter_map(|text| TopicFilter::mqtt(&text).ok())
                .collect(),
        )
    }

    /// Whether everything that a filter matches may be read.
    pub fn covers(&self, filter: &TopicFilter) -> bool {
        self.0.iter().any(|own| own.covers(filter))
    }
}

/// Whether it is one level of a topic, and an ordinary one.
fn is_level(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('$')
        && !text.contains(['/', '+', '#', '{', '}'])
        && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::access::User;
    use crate::config::server::Protocol;

    fn may(templates: &[&str], client: &str, user: Option<&str>, filter: &str) -> bool {
        let templates: Vec<String> = templates.iter().map(|&template| template.to_owned()).collect();
        Grant::of(&templates, client, user).covers(&TopicFilter::mqtt(filter).unwrap())
    }

    #[test]
    fn a_client_may_read_what_the_templates_name_and_no_more() {
        let own = ["{client}/#", "cmnd/{client}/+", "all"];
        for (filter, expected) in [
            ("pump/set", true),
            ("pump/#", true),
            ("pump", true),
            ("all", true),
            ("cmnd/pump/POWER", true),
            ("cmnd/pump/+", true),
            ("cmnd/pump/#", false),
            ("cmnd/+/POWER", false),
            ("+/set", false),
            ("#", false),
            ("all/#", false),
            ("valve/set", false),
            ("$SYS/#", false),
        ] {
            assert_eq!(may(&own, "pump", None, filter), expected, "{filter}");
        }
    }

    #[test]
    fn a_login_decides_which_topics_are_a_clients_own_and_a_user_may_have_others() {
        let user = |name: &str, may_subscribe: Option<&str>| User {
            name: name.to_owned(),
            password_hash: None,
            password: None,
            may_subscribe: may_subscribe.map(|filter| vec![filter.to_owned()]),
        };
        let covers = |server: &Server, user, filter| {
            Grants::of(server).to("pump", user).covers(&TopicFilter::mqtt(filter).unwrap())
        };
        let mut server = Server::of(0, Protocol::Mqtt);
        assert!(covers(&server, None, "cmnd/pump/#") && covers(&server, None, "pump/x"));
        assert!(!covers(&server, None, "cmnd/valve/#"));
        server.access.auth = LoginBy::Basic;
        server.access.users = vec![user("valve", None), user("boss", Some("all/#"))];
        assert!(!covers(&server, Some("valve"), "cmnd/pump/#"), "an identifier proves nothing");
        assert!(covers(&server, Some("valve"), "cmnd/valve/#"));
        assert!(covers(&server, Some("boss"), "all/x") && !covers(&server, Some("boss"), "boss/x"));
        server.may_subscribe = Some(vec!["shared".to_owned()]);
        assert!(covers(&server, Some("valve"), "shared") && !covers(&server, Some("valve"), "valve/x"));
        assert!(!covers(&server, Some("boss"), "shared"));
    }

    #[test]
    fn an_identifier_that_is_a_wildcard_or_several_levels_opens_nothing() {
        for client in ["+", "#", "a/b", "", "$SYS", "{user}", "a+"] {
            for filter in ["valve/set", "+/set", "a/b/c", "#", "$SYS/x", "pump/x"] {
                assert!(!may(&["{client}/#"], client, Some("pump"), filter), "{client} {filter}");
            }
        }
        assert!(!may(&["{user}/#"], "pump", None, "pump/x"), "nobody has logged in");
        assert!(may(&["{user}/#"], "x", Some("pump"), "pump/x"));
    }

    #[test]
    fn a_wildcard_that_is_granted_covers_every_narrower_one_and_no_topic_of_the_server() {
        for (filter, expected) in
            [("#", true), ("a/+/#", true), ("+", true), ("$SYS/#", false), ("$x", false)]
        {
            assert_eq!(may(&["#"], "c", None, filter), expected, "{filter}");
        }
        assert!(may(&["$own/#"], "c", None, "$own/x"));
    }
}
