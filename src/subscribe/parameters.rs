//! A route's parameters: from the path and the query to topics. A value is one token of a topic
//! whatever its pattern allows, so that no client reaches a topic that the route does not name.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::request::{ParameterFault, SubscribeError};
use crate::config::schema::{Parameter, StreamRoute};
use crate::config::template::TopicTemplate;
use crate::query;
use crate::topic::{Filter, TOPIC_BYTES_MAX, is_token};

/// The parameters of one route, and the topics they are for.
#[derive(Debug)]
pub(super) struct Parameters {
    topics: Vec<TopicTemplate>,
    in_path: Vec<Rule>,
    in_query: Vec<Rule>,
}

/// What one parameter may be.
#[derive(Debug)]
struct Rule {
    name: Box<str>,
    /// None allows every token.
    allowed: Option<Parameter>,
}

/// The values of a route's parameters in one request.
#[derive(Debug)]
pub struct Values<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl Values<'_> {
    /// That of the parameter with this name.
    pub fn of(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(other, _)| *other == name);
        found.map_or("", |(_, value)| value)
    }
}

impl Parameters {
    pub(super) fn new(route: &StreamRoute) -> Self {
        let rule =
            |name: &str| Rule { name: name.into(), allowed: route.parameters.get(name).cloned() };
        let is_in_path = |name: &str| route.path.parameters().any(|other| other == name);
        let declared = route.parameters.keys().map(String::as_str);
        Self {
            topics: route.topics.clone(),
            in_path: route.path.parameters().map(rule).collect(),
            in_query: declared.filter(|name| !is_in_path(name)).map(rule).collect(),
        }
    }

    /// What a path with these values, still percent-encoded, and a query give.
    pub(super) fn values<'a>(
        &'a self,
        in_path: impl Iterator<Item = (&'a str, &'a str)>,
        query: &'a str,
    ) -> Result<Values<'a>, SubscribeError> {
        let mut values: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for (rule, (name, encoded)) in self.in_path.iter().zip(in_path) {
            debug_assert_eq!(*rule.name, *name);
            values.push((&rule.name, rule.check(percent_decode_str(encoded).into())?));
        }
        for rule in &self.in_query {
            let is_it = |(name, value): (Cow<'a, [u8]>, _)| {
                (*name == *rule.name.as_bytes()).then_some(value)
            };
            let mut given = query::pairs(query).filter_map(is_it);
            let value = match (given.next(), given.next()) {
                (Some(value), None) => rule.check(value)?,
                // Two readers of one query may each take another of them.
                (Some(_), Some(_)) => return Err(rule.error(ParameterFault::Repeated)),
                (None, _) => rule.default()?,
            };
            values.push((&rule.name, value));
        }
        Ok(Values(values))
    }

    /// The topics with these values in them.
    pub(super) fn topics(&self, values: &Values<'_>) -> Result<Vec<Filter>, SubscribeError> {
        let topic =
            |template: &TopicTemplate| Filter::parse(&template.fill(|name| values.of(name)));
        self.topics.iter().map(topic).collect::<Result<_, _>>().map_err(SubscribeError::Topic)
    }
}

impl Rule {
    fn check<'a>(&self, value: Cow<'a, [u8]>) -> Result<Cow<'a, str>, SubscribeError> {
        let value = match value {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
        };
        let value = value.ok_or_else(|| self.error(ParameterFault::NotUtf8))?;
        // Before the pattern, whose time grows with the value.
        if value.len() > TOPIC_BYTES_MAX {
            return Err(self.error(ParameterFault::TooLong));
        }
        if let Some(Parameter { pattern, .. }) = &self.allowed
            && !pattern.matches(&value)
        {
            return Err(self.error(ParameterFault::Pattern(pattern.as_str().into())));
        }
        if is_token(&value) { Ok(value) } else { Err(self.error(ParameterFault::NotAToken)) }
    }

    /// The value of a query that does not have it.
    fn default(&self) -> Result<Cow<'_, str>, SubscribeError> {
        match &self.allowed {
            Some(Parameter { default: Some(default), .. }) => Ok(Cow::Borrowed(default)),
            Some(Parameter { pattern, .. }) => {
                Err(self.error(ParameterFault::Missing(pattern.as_str().into())))
            }
            None => Err(self.error(ParameterFault::NotAToken)),
        }
    }

    fn error(&self, fault: ParameterFault) -> SubscribeError {
        SubscribeError::Parameter { name: self.name.clone(), fault }
    }
}
