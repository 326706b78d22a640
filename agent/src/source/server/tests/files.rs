//! Pages and files.

use super::*;

/// A folder with an index, a script, a folder of its own, and what must not be shown.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let www = folder.path().join("www");
    std::fs::create_dir_all(www.join("sub")).unwrap();
    let files =
        [("index.html", "<p>front"), ("a.js", "0123456789"), (".secret", "s"), ("sub/index.html", "<p>sub")];
    files.iter().for_each(|(name, text)| std::fs::write(www.join(name), text).unwrap());
    std::fs::write(folder.path().join("outside"), "s").unwrap();
    std::os::unix::fs::symlink("../outside", www.join("way-out")).unwrap();
    folder
}

fn server(folder: &tempfile::TempDir) -> Server {
    let http = HttpPage::Files { folder: folder.path().join("www"), index: "index.html".to_owned() };
    Server { http, ..config() }
}

fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let line = answer.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {answer}"))
}

#[test]
fn files_have_their_type_and_folders_their_index_and_nothing_else_is_there() {
    let folder = folder();
    with(server(&folder), async |bench| {
        for (path, body) in [("/", "<p>front"), ("/a.js?v=1", "0123456789"), ("/sub/", "<p>sub")] {
            assert_eq!(bench.ask("GET", path, "", "").await, (200, body.to_owned()), "{path}");
        }
        let answer = bench.raw(&request("GET", "/sub?x=1", "", "")).await;
        assert!(answer.starts_with("HTTP/1.1 301") && field(&answer, "location") == "/sub/?x=1", "{answer}");
        let answer = bench.raw(&request("HEAD", "/a.js", "range: bytes=1-2\r\n", "")).await;
        assert!(answer.ends_with("\r\n\r\n") && field(&answer, "content-length") == "10", "{answer}");
        assert_eq!(field(&answer, "content-type"), "text/javascript; charset=utf-8");
        assert_eq!(field(&answer, "x-content-type-options"), "nosniff");
        let hidden = [
            "/.secret",
            "/way-out",
            "/../outside",
            "/%2e%2e/outside",
            "/sub/..%2f..%2foutside",
            "/a.js/",
            "/none",
            "//a.js",
            "/sub/%00",
        ];
        for path in hidden {
            assert_eq!(bench.ask("GET", path, "", "").await.0, 404, "{path}");
        }
        std::fs::remove_file(folder.path().join("www/sub/index.html")).unwrap();
        assert_eq!(bench.ask("GET", "/sub/", "", "").await.0, 404, "a folder is not listed");
        assert_eq!(bench.post("/a.js", "1").await.0, 200, "messages come in as ever");
        assert_eq!(bench.ask("GET", "/healthz", "", "").await.0, 200);
        assert_eq!(bench.ask("GET", "/api/status", "", "").await.0, 200);
        assert_eq!(bench.ask("DELETE", "/a.js", "", "").await.0, 405);
    });
}

#[test]
fn a_browser_that_has_it_is_told_so_and_may_ask_for_a_part() {
    let folder = folder();
    with(server(&folder), async |bench| {
        let get = async |fields: &str| bench.raw(&request("GET", "/a.js", fields, "")).await;
        let whole = get("").await;
        let (tag, date) = (field(&whole, "etag").to_owned(), field(&whole, "last-modified").to_owned());
        for fields in [format!("if-none-match: \"x\", W/{tag}\r\n"), format!("if-modified-since: {date}\r\n")]
        {
            let answer = get(&fields).await;
            assert!(answer.starts_with("HTTP/1.1 304") && answer.ends_with("\r\n\r\n"), "{answer}");
            assert_eq!(field(&answer, "etag"), tag);
        }
        let part = get("range: bytes=2-4\r\n").await;
        assert!(part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\n234"), "{part}");
        assert_eq!(field(&part, "content-range"), "bytes 2-4/10");
        let none = get("range: bytes=10-\r\n").await;
        assert!(none.starts_with("HTTP/1.1 416") && field(&none, "content-range") == "bytes */10", "{none}");
        let stale = get("range: bytes=2-4\r\nif-range: \"x\"\r\n").await;
        assert_eq!(split(&stale), (200, "0123456789".to_owned()));
        std::fs::write(folder.path().join("www/a.js"), "changed").unwrap();
        assert_eq!(split(&get(&format!("if-none-match: {tag}\r\n")).await), (200, "changed".to_owned()));
    });
}

#[test]
fn a_large_file_comes_whole_to_a_slow_reader_while_others_are_served() {
    let folder = folder();
    let bytes: String = (0..2_000_000).map(|number: u32| char::from(b'a' + (number % 23) as u8)).collect();
    std::fs::write(folder.path().join("www/large.txt"), &bytes).unwrap();
    with(server(&folder), async |bench| {
        let mut stream = bench.connect().await;
        stream.write_all(request("GET", "/large.txt", "", "").as_bytes()).await.unwrap();
        assert_eq!(bench.post("/a", "1").await.0, 200);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(split(&String::from_utf8(answer).unwrap()).1 == bytes);
    });
}

#[test]
fn a_page_is_read_each_time_and_what_cannot_be_shown_is_named_at_the_start() {
    let folder = folder();
    let file = folder.path().join("page.html");
    let server = Server { http: HttpPage::Page(file.clone()), ..config() };
    let error = smol::block_on(bind(&server, &[])).err().unwrap();
    let expected = format!("cannot show {}: no such file or directory (server sensors)", file.display());
    assert_eq!(error, expected);
    let http = HttpPage::Files { folder: folder.path().join("none"), index: "x".to_owned() };
    assert!(smol::block_on(bind(&Server { http, ..config() }, &[])).err().unwrap().contains("none: no such"));
    std::fs::write(&file, "<p>one").unwrap();
    with(server, async |bench| {
        assert_eq!(bench.ask("GET", "/", "", "").await, (200, "<p>one".to_owned()));
        std::fs::write(&file, "<p>two").unwrap();
        assert_eq!(bench.ask("GET", "/", "", "").await, (200, "<p>two".to_owned()));
        assert_eq!(bench.ask("GET", "/page.html", "", "").await.0, 405);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(bench.ask("GET", "/", "", "").await.0, 404);
    });
}
