//! What a route must not say.

use super::*;

fn faults(lines: &str) -> Vec<String> {
    errors_with(&format!("[[server]]\n[[server.route]]\npath = '/a/{{b}}'\n{lines}"), &Overrides::default())
}

#[test]
fn wrong_parameters_are_refused_with_their_place() {
    let cases: [(&str, &[&str]); 5] = [
        ("query = [ { type = 'number' } ]", &["f:4:11: server.route.query.name: is missing"]),
        (
            "query = [ { name = 'n', type = 'float' } ]",
            &["f:4:32: server.route.query.type: must be \"string\" or \"number\" or \"boolean\""],
        ),
        (
            "header = [ { name = 'x y' } ]",
            &["f:4:21: server.route.header.name: `x y` must be the name of a header, such as x-batch"],
        ),
        (
            "header = [ { name = 'X-A' }, { name = 'x-a' } ]",
            &["f:4:10: server.route.header: `x-a` is named twice"],
        ),
        (
            "query = 'n'",
            &["f:4:9: server.route.query: must be a list of tables: write `[[server.route.query]]`"],
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(faults(lines), *expected, "{lines}");
    }
}

#[test]
fn a_reply_is_one_thing_and_only_of_a_connection() {
    const SHAPE: &str = "must be exactly one of { last = … }, { text = … }, { file = … }";
    let needs = "f:4:9: server.route.reply: needs mode = \"connection\"";
    assert_eq!(faults("reply = { text = 'a' }"), [needs]);
    for reply in ["{}", "{ text = 'a', file = 'b' }", "{ page = 'a' }", "'a'"] {
        let expected = format!("f:5:9: server.route.reply: {SHAPE}");
        assert_eq!(faults(&format!("mode = 'connection'\nreply = {reply}")), [expected], "{reply}");
    }
    let unknown = "f:5:9: server.route.reply: the path has no name `c`";
    assert_eq!(faults("mode = 'connection'\nreply = { last = 'x/{c}' }"), [unknown]);
    let needs = "f:5:10: server.route.schema: needs format = \"json\"";
    assert_eq!(faults("format = 'text'\nschema = 's.json'"), [needs]);
    let useless =
        "f:5:10: server.route.format: is of no use with mode = \"connection\", whose messages are JSON";
    assert_eq!(faults("mode = 'connection'\nformat = 'text'"), [useless]);
}

#[test]
fn methods_are_named_once_and_what_makes_json_needs_it() {
    let cases = [
        (
            "methods = []",
            "4:11: server.route.methods: must name at least one of \"GET\", \"POST\" and \"PUT\"",
        ),
        ("methods = ['get']", "4:11: server.route.methods: `get` must be \"GET\" or \"POST\" or \"PUT\""),
        ("methods = ['PUT', 'PUT']", "4:11: server.route.methods: `PUT` is named twice"),
        (
            "methods = ['GET']\nformat = 'binary'",
            "4:11: server.route.methods: has \"GET\", which needs format = \"json\"",
        ),
        ("batch = true\nformat = 'text'", "4:9: server.route.batch: needs format = \"json\""),
        ("batch = true\nmode = 'connection'", "4:9: server.route.batch: needs mode = \"data\""),
    ];
    for (lines, expected) in cases {
        assert_eq!(faults(lines), [format!("f:{expected}")], "{lines}");
    }
    assert_eq!(faults("methods = ['GET', 'POST']\nbatch = true\nformat = 'json'"), [""; 0]);
}
