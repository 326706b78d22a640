//! How metrics are written for whoever scrapes them: as OpenMetrics 1.0 for those that ask for it, else in the text format of
//! Prometheus (0.0.4), which everything reads.

use std::fmt::Write;

const OPENMETRICS: &str = "application/openmetrics-text";

/// A format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// The text format of Prometheus.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics,
}

impl Exposition {
    /// The one that a list of media types prefers (RFC 9110 §12.5.1).
    pub fn accepted<'a>(lists: impl Iterator<Item = &'a str>) -> Exposition {
        let (mut open, mut plain) = (0.0, 0.0);
        for range in lists.flat_map(|list| list.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let quality: f64 = quality.map_or(1.0, |quality| quality.parse().unwrap_or_default());
            match name.to_ascii_lowercase().as_str() {
                OPENMETRICS => open = quality.max(open),
                "text/plain" | "text/*" => plain = quality.max(plain),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Exposition::OpenMetrics } else { Exposition::Prometheus }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Metrics that are written as OpenMetrics, in this format.
    pub fn write(self, metrics: String) -> String {
        match self {
            Exposition::Prometheus => prometheus(&metrics),
            Exposition::OpenMetrics => metrics,
        }
    }
}

/// The samples are the same in both. The text format names a counter as its sample is named, and knows neither units, nor
/// information, nor an end.
fn prometheus(metrics: &str) -> String {
    let mut out = String::with_capacity(metrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in metrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            let _ = writeln!(out, "{line}");
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("HELP"), Some(name), Some(text)) => help = Some((name, text)),
            (Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                    let _ = writeln!(out, "# HELP {name}{suffix} {text}");
                }
                let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_goes_to_those_that_prefer_it_and_text_to_everybody_else() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, expected) in [
            (None, Exposition::Prometheus),
            (Some("*/*"), Exposition::Prometheus),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Exposition::Prometheus),
            (Some("text/plain;version=0.0.4"), Exposition::Prometheus),
            (Some("Application/OpenMetrics-Text; version=1.0.0"), Exposition::OpenMetrics),
            (Some(prometheus), Exposition::OpenMetrics),
            (Some("text/plain, application/openmetrics-text;q=0.5"), Exposition::Prometheus),
            (Some("application/openmetrics-text;q=0, */*"), Exposition::Prometheus),
            (Some("application/openmetrics-text;q=much"), Exposition::Prometheus),
        ] {
            assert_eq!(Exposition::accepted(accept.into_iter()), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_text_format_has_its_own_names_of_counters_and_no_units() {
        let metrics = "# HELP a Build.\n# TYPE a info\na_info{version=\"1\"} 1\n\
                       # HELP b_bytes Bytes.\n# TYPE b_bytes counter\n# UNIT b_bytes bytes\nb_bytes_total{} 7\n\
                       # HELP c A gauge.\n# TYPE c gauge\nc{link=\"# HELP\"} 1.0\n# EOF\n";
        let expected = "# HELP a_info Build.\n# TYPE a_info gauge\na_info{version=\"1\"} 1\n\
                        # HELP b_bytes_total Bytes.\n# TYPE b_bytes_total counter\nb_bytes_total{} 7\n\
                        # HELP c A gauge.\n# TYPE c gauge\nc{link=\"# HELP\"} 1.0\n";
        assert_eq!(Exposition::Prometheus.write(metrics.to_owned()), expected);
        assert_eq!(Exposition::OpenMetrics.write(metrics.to_owned()), metrics);
    }
}
