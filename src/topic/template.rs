//! Topics that are made from events: a text with fields in braces, such as
//! `instance.{source}.session.{data.sessionId}`. Pure; used for what upstream servers send.

use std::cell::OnceCell;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Topic, TopicError};

/// A text that becomes a topic once its fields are filled in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Source,
    Event,
    Id,
    /// A JSON pointer into the event's data.
    Data(String),
}

/// An event as templates see it.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The name of the source that it comes from.
    pub source: &'a str,
    /// Its own name.
    pub event: &'a str,
    /// Its id.
    pub id: &'a str,
    /// Its data, which is JSON if it is to have fields.
    pub data: &'a str,
    parsed: OnceCell<Option<Value>>,
}

impl<'a> Facts<'a> {
    /// What is known of an event. Its data is parsed when the first template asks for a field of it.
    pub fn new(source: &'a str, event: &'a str, id: &'a str, data: &'a str) -> Self {
        Self { source, event, id, data, parsed: OnceCell::new() }
    }

    /// A field of the data, as text: a string, a number or a flag.
    fn field(&self, pointer: &str) -> Option<String> {
        let parsed = self.parsed.get_or_init(|| serde_json::from_str(self.data).ok());
        match parsed.as_ref()?.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// Why an event has no topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoTopic {
    /// The event has no such field, or it is empty, or no text, number or flag.
    Field(String),
    /// What comes out is not a topic.
    Topic(TopicError),
}

impl fmt::Display for NoTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, "the event has no {{{name}}}"),
            Self::Topic(error) => write!(f, "its fields make no topic: {error}"),
        }
    }
}

impl Template {
    /// The topic of an event.
    ///
    /// # Errors
    /// A field is missing, or what it holds does not fit into a topic.
    pub fn topic(&self, facts: &Facts<'_>) -> Result<Topic, NoTopic> {
        let mut text = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Source => text.push_str(facts.source),
                Part::Event => text.push_str(facts.event),
                Part::Id if facts.id.is_empty() => return Err(NoTopic::Field("id".into())),
                Part::Id => text.push_str(facts.id),
                Part::Data(pointer) => {
                    let value = facts.field(pointer).filter(|value| !value.is_empty());
                    let missing = || NoTopic::Field(format!("data{}", pointer.replace('/', ".")));
                    text.push_str(&value.ok_or_else(missing)?);
                }
            }
        }
        Topic::parse(&text).map_err(NoTopic::Topic)
    }

    fn parse(text: &str) -> Result<Vec<Part>, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let (literal, field) = rest.split_at(brace);
            let field = field.strip_prefix('{').and_then(|field| field.split_once('}'));
            let (name, after) = field.ok_or("a brace has no other that belongs to it")?;
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.into()));
            }
            parts.push(Part::field(name).ok_or_else(|| {
                format!(
                    "{{{name}}} is no field; there are {{source}}, {{event}}, {{id}} and {{data.…}}"
                )
            })?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.into()));
        }
        Ok(parts)
    }
}

impl Part {
    fn field(name: &str) -> Option<Self> {
        match name {
            "source" => Some(Self::Source),
            "event" => Some(Self::Event),
            "id" => Some(Self::Id),
            name => {
                let path = name.strip_prefix("data.")?;
                let is_path =
                    path.split('.').all(|key| !key.is_empty() && !key.contains(['/', '~']));
                is_path.then(|| Self::Data(format!("/{}", path.replace('.', "/"))))
            }
        }
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refused = |why: String| format!("{text:?} is not a template for topics: {why}");
        let parts = Self::parse(&text).map_err(refused)?;
        // Any value will do for a try: the literal parts must be those of a topic.
        let filled = parts.iter().map(|part| match part {
            Part::Literal(literal) => literal.as_str(),
            _ => "x",
        });
        Topic::parse(&filled.collect::<String>()).map_err(|error| refused(error.to_string()))?;
        Ok(Self { text, parts })
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

/// What belongs here: which texts are templates, and what comes out of them.
#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<Template, String> {
        Template::try_from(text.to_owned())
    }

    #[test]
    fn fields_come_from_the_event_and_from_its_data() {
        let data =
            r#"{"sessionId":"s1","info":{"n":7,"last":true},"list":["x"],"none":null,"e":""}"#;
        let facts = Facts::new("local", "message.updated", "42", data);
        for (text, topic) in [
            ("fixed", "fixed"),
            ("instance.{source}.session.{data.sessionId}", "instance.local.session.s1"),
            ("{event}", "message.updated"),
            ("{source}-{id}.{data.info.n}{data.info.last}", "local-42.7true"),
            ("{data.list.0}", "x"),
        ] {
            let made = template(text).unwrap().topic(&facts);
            assert_eq!(made.as_ref().map(Topic::as_str), Ok(topic), "{text}");
        }
        for missing in
            ["data.other", "data.info", "data.none", "data.list", "data.e", "data.info.n.x"]
        {
            let made = template(&format!("a.{{{missing}}}")).unwrap().topic(&facts);
            assert_eq!(made, Err(NoTopic::Field(missing.into())));
        }
        let text = Facts::new("local", "message", "", "no JSON");
        assert_eq!(
            template("{data.a}").unwrap().topic(&text),
            Err(NoTopic::Field("data.a".into()))
        );
        assert_eq!(template("{id}").unwrap().topic(&text), Err(NoTopic::Field("id".into())));
    }

    #[test]
    fn what_an_event_says_cannot_make_a_pattern_or_hide_in_a_topic() {
        for (value, error) in [
            ("*", TopicError::Wildcard),
            (">", TopicError::Wildcard),
            ("a.*", TopicError::Wildcard),
            ("a\\u0000", TopicError::Character('\0')),
            ("a\\u202e", TopicError::Character('\u{202e}')),
        ] {
            let data = format!(r#"{{"to":"{value}"}}"#);
            let made = template("room.{data.to}").unwrap().topic(&Facts::new("s", "e", "", &data));
            assert_eq!(made, Err(NoTopic::Topic(error)), "{value}");
        }
    }

    #[test]
    fn a_text_that_is_no_template_is_refused_by_name() {
        for (text, why) in [
            ("", "at least one byte"),
            ("a.*", "cannot be `*`"),
            ("a.{source", "no other"),
            ("a}", "no other"),
            ("{nope}", "{nope} is no field"),
            ("{data}", "{data} is no field"),
            ("{data.}", "{data.} is no field"),
            ("{data.a..b}", "{data.a..b} is no field"),
            ("{}", "{} is no field"),
            ("a\n", "control"),
        ] {
            let error = template(text).unwrap_err();
            assert!(error.contains(why) && error.starts_with(&format!("{text:?}")), "{error}");
        }
    }
}
