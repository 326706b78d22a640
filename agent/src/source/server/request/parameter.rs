//! Query and header parameters that a route declares: whether a request has them right. Pure.

use holdfast_core::config::parameter::{Parameter, ParameterType};
use hyper::header::HeaderMap;
use serde_json::{Map, Value};

use super::path::RouteError;

/// Name and value, in the order in which they came.
pub type Pairs = Vec<(String, String)>;

/// All parameters of a query (the `application/x-www-form-urlencoded` of the URL standard).
pub fn of_query(query: Option<&str>) -> Pairs {
    decoded(query.unwrap_or_default().as_bytes())
}

/// The headers that are declared, in the order of the declaration.
pub fn of_headers(declared: &[Parameter], headers: &HeaderMap) -> Result<Pairs, RouteError> {
    let mut pairs = Pairs::new();
    for parameter in declared {
        for value in headers.get_all(&parameter.name) {
            let value = std::str::from_utf8(value.as_bytes())
                .map_err(|_| miss("header", parameter, "is not valid UTF-8"))?;
            pairs.push((parameter.name.clone(), value.to_owned()));
        }
    }
    Ok(pairs)
}

/// Checks the declared ones among these parameters, and writes those that have a type in one way. `place` is what they are
/// called: `query parameter`, `header`.
pub fn check(place: &str, declared: &[Parameter], pairs: &mut Pairs) -> Result<(), RouteError> {
    for parameter in declared {
        let mut count = 0;
        for (_, value) in pairs.iter_mut().filter(|(name, _)| *name == parameter.name) {
            count += 1;
            let wrong = |what: &str| miss(place, parameter, what);
            match parameter.kind {
                ParameterType::String => {}
                ParameterType::Number if is_number(value) => {}
                ParameterType::Number => return Err(wrong("is not a number")),
                ParameterType::Boolean => {
                    *value = boolean(value).ok_or_else(|| wrong("is neither true nor false"))?.to_string();
                }
            }
        }
        if count == 0 && parameter.required {
            return Err(miss(place, parameter, "is missing"));
        }
        if count > 1 && !parameter.repeating {
            return Err(miss(place, parameter, "is given more than once"));
        }
    }
    Ok(())
}

/// Parameters as a JSON object: a value of a declared type in that type, else a string; a list where a name repeats or may repeat.
pub fn object(all: &[(&[Parameter], &Pairs)]) -> String {
    let mut object = Map::new();
    for (declared, pairs) in all {
        for (name, text) in *pairs {
            let parameter = declared.iter().find(|parameter| parameter.name == *name);
            let value =
                parameter.map_or_else(|| text.clone().into(), |parameter| typed(parameter.kind, text));
            let lists = parameter.is_some_and(|parameter| parameter.repeating);
            match object.get_mut(name) {
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = vec![first.take(), value].into(),
                None if lists => drop(object.insert(name.clone(), vec![value].into())),
                None => drop(object.insert(name.clone(), value)),
            }
        }
    }
    Value::Object(object).to_string()
}

/// The fields of a form as a JSON object, each in the type that is declared for it. None if the body is no form: `curl -d` says of
/// everything that it is one.
pub fn of_form(declared: &[Parameter], body: &[u8]) -> Result<Option<String>, RouteError> {
    let begins_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'));
    if begins_json || !body.contains(&b'=') {
        return Ok(None);
    }
    let optional = |parameter: &Parameter| Parameter { required: false, ..parameter.clone() };
    let declared: Vec<Parameter> = declared.iter().map(optional).collect();
    let mut pairs = decoded(body.trim_ascii());
    check("form field", &declared, &mut pairs)?;
    Ok(Some(object(&[(&declared, &pairs)])))
}

fn decoded(form: &[u8]) -> Pairs {
    form_urlencoded::parse(form).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn typed(kind: ParameterType, text: &str) -> Value {
    match kind {
        ParameterType::String => text.into(),
        ParameterType::Number | ParameterType::Boolean => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
    }
}

fn miss(place: &str, parameter: &Parameter, what: &str) -> RouteError {
    let name = parameter.name.clone();
    RouteError::Parameter { error: format!("the {place} {name} {what}"), name }
}

/// Whether a text is a number of JSON (RFC 8259 §6), without white space around it.
fn is_number(text: &str) -> bool {
    text.trim().len() == text.len() && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(kind: ParameterType, required: bool, repeating: bool) -> [Parameter; 1] {
        [Parameter { name: "p".to_owned(), kind, required, repeating }]
    }

    fn checked(declared: &[Parameter], query: &str) -> Result<String, String> {
        let mut pairs = of_query(Some(query));
        check("query parameter", declared, &mut pairs).map_err(|miss| miss.to_string())?;
        Ok(pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_declared_parameter_has_its_type_or_is_named() {
        let (number, boolean) = (ParameterType::Number, ParameterType::Boolean);
        let cases = [
            (number, "p=-1.5e3&q=x", Ok("p=-1.5e3 q=x")),
            (number, "p=0x10", Err("the query parameter p is not a number")),
            (number, "p=%201", Err("the query parameter p is not a number")),
            (number, "p=01", Err("the query parameter p is not a number")),
            (number, "p=", Err("the query parameter p is not a number")),
            (number, "p=NaN", Err("the query parameter p is not a number")),
            (boolean, "p=1", Ok("p=true")),
            (boolean, "p=false", Ok("p=false")),
            (boolean, "p=0", Ok("p=false")),
            (boolean, "p=yes", Err("the query parameter p is neither true nor false")),
            (ParameterType::String, "p=", Ok("p=")),
            (ParameterType::String, "q=1", Ok("q=1")),
        ];
        for (kind, query, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(checked(&declared(kind, false, false), query), expected, "{kind:?} {query}");
        }
    }

    #[test]
    fn only_a_repeating_one_may_come_twice_and_only_a_required_one_must_come() {
        let text = ParameterType::String;
        let twice = Err("the query parameter p is given more than once".to_owned());
        assert_eq!(checked(&declared(text, true, false), "p=1&p=2"), twice);
        assert_eq!(checked(&declared(text, true, true), "p=1&p=2"), Ok("p=1 p=2".to_owned()));
        let missing = Err("the query parameter p is missing".to_owned());
        assert_eq!(checked(&declared(text, true, true), "P=1"), missing);
        let number = declared(ParameterType::Number, false, true);
        assert!(checked(&number, "p=1&p=x").is_err(), "every one of them has the type");
    }

    #[test]
    fn a_request_as_json_has_the_types_that_are_declared() {
        let path = vec![("line".to_owned(), "3".to_owned())];
        let mut declared = declared(ParameterType::Number, false, true).to_vec();
        let name = "on".to_owned();
        declared.push(Parameter { name, kind: ParameterType::Boolean, required: false, repeating: false });
        let query = of_query(Some("p=1.5&on=true&x=1&y=a&y=b&line=4"));
        let text = object(&[(&[], &path), (&declared, &query)]);
        let expected = r#"{"line":["3","4"],"on":true,"p":[1.5],"x":"1","y":["a","b"]}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn headers_are_found_whatever_their_case_and_only_if_they_are_declared() {
        let mut headers = HeaderMap::new();
        headers.append("X-Batch", "1".parse().unwrap());
        headers.append("x-batch", "2".parse().unwrap());
        headers.append("cookie", "secret".parse().unwrap());
        let name = "x-batch".to_owned();
        let declared = [Parameter { name, kind: ParameterType::Number, required: true, repeating: true }];
        let pair = |value: &str| ("x-batch".to_owned(), value.to_owned());
        assert_eq!(of_headers(&declared, &headers), Ok(vec![pair("1"), pair("2")]));
        headers.append("x-batch", hyper::header::HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(of_headers(&declared, &headers).unwrap_err().to_string().contains("x-batch"));
    }
}
