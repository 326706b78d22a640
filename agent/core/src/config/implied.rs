//! Tables that are in force as long as no file has one of their kind: a link that holds what comes, and a server for this machine.
//! The first table of a kind takes the place of the implied one. What that would close or strand without a word is found here.

use std::net::SocketAddr;

use super::ConfigFile;
use super::client::Client;
use super::edit::{self, Kind};
use super::server::Server;

/// Its name in the file where the server that was implied would have that of another.
const OTHER_ID: &str = "local";

/// Whether no file has a table of this kind, so that the implied one is in force. One that cannot be read may have some.
pub fn is_in_force(files: &[ConfigFile], kind: Kind) -> bool {
    files.iter().all(|file| edit::ids(&file.text, kind).is_ok_and(|ids| ids.is_empty()))
}

/// The id of the link that holds while there is no client.
pub fn client() -> String {
    Client::of_index(0).id
}

/// Where the server listens that is there without any.
pub fn address() -> String {
    Server::of_index(0).bind.concat()
}

/// The keys of a table that keeps the implied server beside one with the id `taken`.
pub fn server_to_keep(taken: Option<&str>) -> (String, [(String, String); 2]) {
    let Server { id, bind, .. } = Server::of_index(0);
    let is_taken = taken.is_some_and(|taken| taken.eq_ignore_ascii_case(&id));
    let id = if is_taken { OTHER_ID.to_owned() } else { id };
    let pairs =
        [("id".to_owned(), super::toml_string(&id)), ("bind".to_owned(), super::render::strings(&bind))];
    (id, pairs)
}

/// Whether one that listens at these addresses is also reached where the implied server is.
pub fn is_covered_by(bind: &[String]) -> bool {
    let Ok(implied) = address().parse::<SocketAddr>() else { return false };
    let covers = |address: &String| {
        address.parse::<SocketAddr>().is_ok_and(|own| {
            // An IPv6 socket for every address takes IPv4, too.
            own.port() == implied.port() && (own.ip() == implied.ip() || own.ip().is_unspecified())
        })
    };
    bind.iter().any(covers)
}

/// What becomes of things once a table is removed, a sentence each. `outlet` is the place of a removed client in the buffer, and
/// `held` the messages in it.
pub fn after_removal(before: &[ConfigFile], kind: Kind, outlet: &str, held: u64) -> Vec<String> {
    let ids = before.iter().filter_map(|file| edit::ids(&file.text, kind).ok()).flatten();
    let is_last = ids.count() == 1;
    let mut notes = Vec::new();
    if held > 0 {
        let messages = if held == 1 { "1 message that is" } else { &format!("{held} messages that are") };
        notes.push(format!(
            "{messages} held for it stay in the store, for a client with {}",
            hand_over(outlet)
        ));
    }
    match kind {
        Kind::Client if is_last => notes.push(format!(
            "it was the last client: what comes is held by {} until there is another one",
            client()
        )),
        Kind::Server if is_last => notes.push(format!(
            "it was the last server: without any, one listens on {} (`active = false` in one keeps all shut)",
            address()
        )),
        Kind::Source => {
            notes.push("what its broker holds for it stays there until the session ends".to_owned())
        }
        Kind::Client | Kind::Server => {}
    }
    notes
}

/// The line in the table of a client that gets what was held for another one.
pub fn hand_over(outlet: &str) -> String {
    format!("outlet = {}", super::toml_string(outlet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[&str]) -> Vec<ConfigFile> {
        texts.iter().map(|text| ConfigFile { path: "/t".into(), text: (*text).to_owned() }).collect()
    }

    #[test]
    fn what_is_implied_is_in_force_until_any_file_has_a_table_of_its_kind() {
        for nothing in [&[""][..], &["# [[client]]\n[agent]\nid = \"gw\"\n", ""], &["[[server]]\n"]] {
            assert!(is_in_force(&files(nothing), Kind::Client), "{nothing:?}");
        }
        for some in [&["[[client]]\n"][..], &["", "client = [ { } ]\n"], &["[[client]\n"]] {
            assert!(!is_in_force(&files(some), Kind::Client), "{some:?}");
        }
        assert!(!is_in_force(&files(&["[[server]]\nactive = false\n"]), Kind::Server));
    }

    #[test]
    fn the_implied_server_is_covered_by_one_that_is_reached_at_its_address() {
        let covered = |bind: &[&str]| {
            is_covered_by(&bind.iter().map(|address| (*address).to_owned()).collect::<Vec<_>>())
        };
        for bind in ["0.0.0.0:9998", "127.0.0.1:9998", "[::]:9998"] {
            assert!(covered(&["127.0.0.1:1", bind]), "{bind}");
        }
        for bind in
            ["0.0.0.0:9999", "192.168.1.2:9998", "[::1]:9998", "unix:/run/x.sock", "localhost:9998", "no"]
        {
            assert!(!covered(&[bind]), "{bind}");
        }
    }

    #[test]
    fn what_a_removed_table_leaves_is_told() {
        let two = files(&["[[client]]\nid = \"a\"\n", "[[client]]\nid = \"b\"\n"]);
        assert_eq!(after_removal(&two, Kind::Client, "a", 0), [""; 0]);
        let held = "12 messages that are held for it stay in the store, for a client with outlet = \"a\"";
        assert_eq!(after_removal(&two, Kind::Client, "a", 12), [held]);
        let last = after_removal(&two[..1], Kind::Client, "a", 0);
        assert!(last.len() == 1 && last[0].contains("held by ws_client_1"), "{last:?}");
        let last = after_removal(&files(&["[[server]]\n"]), Kind::Server, "", 0);
        assert!(last.len() == 1 && last[0].contains("127.0.0.1:9998"), "{last:?}");
    }

    #[test]
    fn the_implied_server_is_kept_under_a_name_that_is_free() {
        let (id, pairs) = server_to_keep(Some("sensors"));
        assert_eq!(id, "ws_server_1");
        assert_eq!(pairs[1], ("bind".to_owned(), "[\"127.0.0.1:9998\"]".to_owned()));
        assert_eq!(server_to_keep(Some("WS_Server_1")).0, "local");
    }
}
