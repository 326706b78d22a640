//! Those who read: the topics that were heard of lately, and the last message of each.

use holdfast_core::source::intake::Refused;
use holdfast_core::topic_filter::TopicFilter;
use holdfast_core::wire;
use hyper::StatusCode;

use crate::source::server::ServerState;
use crate::source::server::http::{ApiError, HttpReply, json};

const PREFIX: &str = "/api/topics/";
const SUFFIX: &str = "/last";

/// `GET /api/topics`: the topics with time and count, of one filter if there is `?topic=FILTER`.
pub async fn topics(site: &ServerState, query: Option<&str>) -> Result<HttpReply, ApiError> {
    let filter = filters(query)?.pop().map_or_else(|| TopicFilter::parse("#"), Ok).map_err(ApiError::bad)?;
    let stopping = || ApiError::of_refusal(&Refused::Stopping);
    let topics = site.intake.topics(filter).await.ok_or_else(stopping)?;
    Ok(json(StatusCode::OK, topics.to_string()))
}

/// `GET /api/topics/{topic}/last`: the last message. The slashes of the topic may stand as they are.
pub async fn last(site: &ServerState, path: &str) -> Result<HttpReply, ApiError> {
    let nothing = |path: &str| ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"));
    let topic = path.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    let topic = topic.ok_or_else(|| nothing(path))?;
    let topic = percent_encoding::percent_decode_str(topic).decode_utf8();
    let topic = topic.map_err(|_| ApiError::bad("the topic is not valid UTF-8"))?.into_owned();
    let found = site.intake.last(topic.clone()).await.map_err(|refused| ApiError::of_refusal(&refused))?;
    let message = found.ok_or_else(|| silent(&topic))?;
    Ok(json(StatusCode::OK, wire::message_line(&message)))
}

/// Nothing was heard of this topic.
pub fn silent(topic: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("nothing was heard of {topic} since the agent started"))
}

/// Every `topic=` of a query.
pub fn filters(query: Option<&str>) -> Result<Vec<TopicFilter>, ApiError> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let filters = pairs.filter(|(name, _)| name == "topic").map(|(_, filter)| TopicFilter::parse(&filter));
    filters.collect::<Result<_, _>>().map_err(ApiError::bad)
}
