//! Looks for records by who did what, to what, and when.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use lockbox_core::LogTime;
use serde_json::Value;

/// What a record must be; what is absent is anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Id or name of who called, or of whom it acted for.
    pub subject: Option<String>,
    /// Id or name of a resource on the path, or an id that the details name.
    pub resource: Option<String>,
    /// The event's type, or its last word, in letters of either case.
    pub event: Option<String>,
    /// From this moment on.
    pub since: Option<LogTime>,
    /// Before this moment.
    pub until: Option<LogTime>,
}

impl Filter {
    /// Whether a line is a record that is looked for.
    #[must_use]
    pub fn matches(&self, line: &[u8]) -> bool {
        let Ok(record) = serde_json::from_slice::<Value>(line) else { return false };
        let is = |wanted: &Option<String>, fits: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(fits)
        };
        is(&self.subject, &|wanted| has_subject(&record, wanted))
            && is(&self.resource, &|wanted| has_resource(&record, wanted))
            && is(&self.event, &|wanted| has_event(&record, wanted))
            && self.has_time(&record)
    }

    fn has_time(&self, record: &Value) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let at = record["event_time"].as_str().and_then(|text| parse_time(text).ok());
        at.is_some_and(|at| {
            self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at < until)
        })
    }
}

fn has_subject(record: &Value, wanted: &str) -> bool {
    let authentication = &record["authentication"];
    let acted_for = &authentication["token_info"]["impersonator_id"];
    [&authentication["subject_id"], &authentication["subject_name"], acted_for]
        .into_iter()
        .any(|found| found == wanted)
}

fn has_resource(record: &Value, wanted: &str) -> bool {
    let parts = ["resource_metadata", "details", "request_parameters", "response"];
    parts.into_iter().any(|part| holds(&record[part], wanted))
}

/// Whether a text is one of the values in another, however deep.
fn holds(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Array(items) => items.iter().any(|item| holds(item, wanted)),
        Value::Object(fields) => fields.values().any(|field| holds(field, wanted)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn has_event(record: &Value, wanted: &str) -> bool {
    let Some(event) = record["event_type"].as_str() else { return false };
    let name = event.rsplit('.').next().unwrap_or(event);
    event.eq_ignore_ascii_case(wanted) || name.eq_ignore_ascii_case(wanted)
}

/// Reads an RFC 3339 time, or a date as its first moment in UTC.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_time(text: &str) -> Result<LogTime, String> {
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            let date: Date =
                text.parse().map_err(|_| "is no date like 2026-11-24 and no RFC 3339 time")?;
            date.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?.timestamp()
        }
    };
    let ms = u64::try_from(at.as_millisecond()).map_err(|_| "is before 1970")?;
    Ok(LogTime::from_ms(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"sequence":3,"event_type":"yandex.cloud.audit.lockbox.GetPayload",
        "event_time":"2027-01-15T08:00:00.123Z",
        "authentication":{"subject_id":"aje1","subject_name":"robot",
            "token_info":{"impersonator_id":"aje2"}},
        "resource_metadata":{"path":[{"resource_type":"t","resource_id":"b1g1"}]},
        "details":{"secret_id":"e6q1","secret_version_payload_entry_keys":["password"]}}"#;

    fn matches(change: impl FnOnce(&mut Filter)) -> bool {
        let mut filter = Filter::default();
        change(&mut filter);
        filter.matches(RECORD.as_bytes())
    }

    #[test]
    fn a_record_is_found_by_each_of_its_sides() {
        let some = |text: &str| Some(text.to_owned());
        let time = |text: &str| Some(parse_time(text).unwrap());
        assert!(matches(|_| ()));
        for subject in ["aje1", "robot", "aje2"] {
            assert!(matches(|filter| filter.subject = some(subject)), "{subject}");
        }
        assert!(!matches(|filter| filter.subject = some("aje")));
        for resource in ["b1g1", "e6q1"] {
            assert!(matches(|filter| filter.resource = some(resource)), "{resource}");
        }
        assert!(!matches(|filter| filter.resource = some("aje1")));
        for event in ["GetPayload", "getpayload", "yandex.cloud.audit.lockbox.GetPayload"] {
            assert!(matches(|filter| filter.event = some(event)), "{event}");
        }
        assert!(!matches(|filter| filter.event = some("Payload")));
        for since in ["2027-01-15", "2027-01-15T08:00:00.123Z"] {
            assert!(matches(|filter| filter.since = time(since)), "{since}");
        }
        assert!(!matches(|filter| filter.since = time("2027-01-15T08:00:00.124Z")));
        assert!(matches(|filter| filter.until = time("2027-01-16")));
        assert!(!matches(|filter| filter.until = time("2027-01-15T08:00:00.123Z")));
        assert!(!matches(|filter| {
            filter.subject = some("aje1");
            filter.event = some("AddVersion");
        }));
    }

    #[test]
    fn what_is_no_record_is_none_that_is_looked_for() {
        assert!(!Filter::default().matches(b"{\"sequence\":3"));
        let filter = Filter { since: Some(LogTime::from_ms(0)), ..Filter::default() };
        assert!(!filter.matches(b"{\"sequence\":3}"));
    }

    #[test]
    fn times_are_dates_or_rfc_3339() {
        assert_eq!(parse_time("1970-01-02"), Ok(LogTime::from_ms(86_400_000)));
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Ok(LogTime::from_ms(0)));
        assert!(parse_time("yesterday").is_err() && parse_time("1969-12-31").is_err());
    }
}
