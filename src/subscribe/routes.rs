//! The stream routes: which one a request is for, and what its streams are like.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use http::header::{HOST, HeaderMap};
use http::request::Parts;
use http::uri::Authority;
use matchit::{Params, Router};

use super::cors;
use super::parameters::{Parameters, Values};
use super::request::{Opening, SubscribeError, Subscription, cursor_of, parse, topics_of};
use crate::config::schema::{HeartbeatKind, Stream, StreamRoute, TopicField};
use crate::config::web::{HostPattern, without_port};
use crate::event::EventNames;
use crate::interest::Interest;
use crate::sse::{Cursor, EventId};
use crate::topic::{Filter, Topic};

/// What a route's streams are like, and where they are.
#[derive(Debug, PartialEq)]
pub struct RouteSettings {
    /// Its path, with the names of its parameters; absent for a shared stream, which has the paths of a
    /// server.
    pub path: Option<Arc<str>>,
    /// What they are like.
    pub stream: Stream,
}

/// A route's [`RouteSettings`], by number: small, since every stream has one. No reload gives it to others:
/// streams outlive their routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteId(u16);

impl RouteId {
    /// How many there may be, reloads included.
    const MAX: usize = u16::MAX as usize + 1;

    /// Its index in [`Routes::settings`].
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// All stream routes of a gateway.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    /// The settings of streams that a server shares: they have its paths, and topics of ours.
    shared: Route,
    /// By host, the most specific first, and then by path.
    paths: Vec<(HostPattern, Router<usize>)>,
    /// By their ids, those of earlier configurations too.
    settings: Vec<Arc<RouteSettings>>,
}

/// There have been too many different settings since the start: only a restart forgets any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySettings;

impl fmt::Display for TooManySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`stream`: {} different settings of streams since the start; restart",
            RouteId::MAX
        )
    }
}

impl std::error::Error for TooManySettings {}

/// A path that streams are at, and what they carry.
#[derive(Debug)]
pub struct Route {
    id: RouteId,
    /// Its place in the configuration.
    index: usize,
    settings: Arc<RouteSettings>,
    parameters: Parameters,
    /// Whether clients name their topics; else the route does, with values from the client in them.
    topics_from_query: bool,
}

/// A request's route, and what the path says.
#[derive(Debug)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Route,
    in_path: Params<'a, 'a>,
}

impl Routes {
    /// The routes of a configuration, which is valid. Without any, there is `/events`.
    pub fn new(stream: &Stream) -> Self {
        Self::with(stream, Vec::new()).expect("a configuration has 1000 routes at most")
    }

    /// The routes of another configuration, which is valid. Ids keep what they stand for.
    ///
    /// # Errors
    /// There have been too many different settings.
    pub fn renewed(&self, stream: &Stream) -> Result<Self, TooManySettings> {
        Self::with(stream, self.settings.clone())
    }

    fn with(
        stream: &Stream,
        mut settings: Vec<Arc<RouteSettings>>,
    ) -> Result<Self, TooManySettings> {
        let default = [StreamRoute::events()];
        let given = if stream.routes.is_empty() { &default[..] } else { &stream.routes };
        let mut known = |of_route: RouteSettings| {
            let at = settings.iter().position(|known| **known == of_route);
            let at = at.unwrap_or(settings.len());
            if at == RouteId::MAX {
                return Err(TooManySettings);
            }
            if at == settings.len() {
                settings.push(Arc::new(of_route));
            }
            Ok((RouteId(at as u16), Arc::clone(&settings[at])))
        };
        let (mut routes, mut paths) = (Vec::new(), Vec::new());
        for (index, route) in given.iter().enumerate() {
            let known = known(RouteSettings::new(stream, route))?;
            routes.push(Route::new(index, route, known));
            add_path(&mut paths, index, route);
        }
        paths.sort_by(|(one, _), (other, _)| one.cmp(other));
        let shared = known(RouteSettings::shared(stream))?;
        let shared = Route::new(given.len(), &StreamRoute::events(), shared);
        Ok(Self { routes, shared, paths, settings })
    }

    /// The route of a request, if it is for one.
    pub fn find<'a>(&'a self, head: &'a Parts) -> Option<Found<'a>> {
        let host = host(head);
        let of_host = self.paths.iter().filter(|(pattern, _)| pattern.matches(host));
        let found = of_host.filter_map(|(_, paths)| paths.at(head.uri.path()).ok()).next()?;
        Some(Found { route: &self.routes[*found.value], in_path: found.params })
    }

    /// The subscription of a client that reads a shared stream of a server's. The first one reads it
    /// from where it begins.
    pub fn share(
        &self,
        head: &Parts,
        topic: Topic,
        begins: Option<EventId>,
        fields: HeaderMap,
        interest: Interest,
    ) -> Subscription {
        let cursor = cursor_of(&head.headers).unwrap_or(Cursor::Live);
        let cursor = match (cursor, begins) {
            // What it has said was for the server, which has heard it.
            (Cursor::Live | Cursor::Unreadable, Some(begins)) => Cursor::At(begins),
            (cursor, _) => cursor,
        };
        Subscription {
            route: self.shared.id,
            filters: [Filter::Exact(topic)].into(),
            names: EventNames::default(),
            cursor,
            limit: None,
            max_duration: None,
            poll: None,
            gzip: false,
            fields,
            opening: Opening::Plain,
            grant: None,
            interest: Some(interest),
            access: None,
        }
    }

    /// What streams may be like, by id: those of earlier configurations too.
    pub fn settings(&self) -> &[Arc<RouteSettings>] {
        &self.settings
    }

    /// The names that publishers may not use: those that control events have on any route.
    pub fn reserved(&self) -> HashSet<String> {
        let routes = self.routes.iter().chain([&self.shared]);
        routes.flat_map(|route| route.settings().control_names()).map(str::to_owned).collect()
    }
}

fn add_path(paths: &mut Vec<(HostPattern, Router<usize>)>, index: usize, route: &StreamRoute) {
    let at = paths.iter().position(|(host, _)| *host == route.host);
    let at = at.unwrap_or_else(|| {
        paths.push((route.host.clone(), Router::new()));
        paths.len() - 1
    });
    let inserted = paths[at].1.insert(String::from(route.path.clone()), index);
    inserted.expect("a valid configuration has no two routes for the same paths");
}

impl RouteSettings {
    fn new(stream: &Stream, route: &StreamRoute) -> Self {
        let path = String::from(route.path.clone());
        Self { path: Some(path.into()), stream: stream.of_route(route) }
    }

    /// Those of a server's stream that clients share: of ours are only the gap, without which there is no
    /// sharing, and the comments that keep it alive.
    fn shared(stream: &Stream) -> Self {
        let mut stream = stream.of_route(&StreamRoute::events());
        stream.control.hello.clear();
        stream.control.end.clear();
        stream.heartbeat_kind = HeartbeatKind::Comment;
        stream.resume = true;
        stream.broadcast = false;
        stream.topic_field = TopicField::None;
        Self { path: None, stream }
    }
}

impl Route {
    fn new(
        index: usize,
        route: &StreamRoute,
        (id, settings): (RouteId, Arc<RouteSettings>),
    ) -> Self {
        let topics_from_query = route.topics_from_query;
        Self { id, index, settings, parameters: Parameters::new(route), topics_from_query }
    }

    /// Its place in the configuration.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether who comes back is sent what it has missed, and whether what goes to everyone reaches
    /// its streams.
    pub fn settings(&self) -> &Stream {
        &self.settings.stream
    }

    /// Reads a subscription to these topics, with the settings of this route, from a request's head.
    ///
    /// # Errors
    /// What the request says of the stream itself is wrong: its cursor never is.
    pub fn subscribe(
        &self,
        filters: Vec<Filter>,
        head: &Parts,
    ) -> Result<Subscription, SubscribeError> {
        let cors = self.cors(&head.headers);
        parse(self.id, self.settings(), filters, head, cors)
    }

    /// The header fields that every response of this route has for pages of other origins.
    pub fn cors(&self, request: &HeaderMap) -> HeaderMap {
        cors::fields(&self.settings().cors, request)
    }

    /// The header fields of the answer to a browser that asks whether a page of another origin may use
    /// this route; `None` if this is another request.
    pub fn preflight(&self, head: &Parts) -> Option<HeaderMap> {
        cors::preflight(&self.settings().cors, head)
    }
}

impl Found<'_> {
    /// Reads a subscription from the head of a request that this is the route of.
    ///
    /// # Errors
    /// The topics, the parameters, or what the request says of the stream itself are wrong.
    pub fn subscription(&self, head: &Parts) -> Result<Subscription, SubscribeError> {
        let values = self.values(head)?;
        let route = self.route;
        let filters = match route.topics_from_query {
            true => {
                let query = head.uri.query().unwrap_or_default();
                topics_of(query, route.settings().topics_max, head.uri.path())?
            }
            false => route.parameters.topics(&values)?,
        };
        route.subscribe(filters, head)
    }

    /// The values of the route's parameters.
    ///
    /// # Errors
    /// One of them is missing, or not what it may be.
    pub fn values<'a>(&'a self, head: &'a Parts) -> Result<Values<'a>, SubscribeError> {
        let query = head.uri.query().unwrap_or_default();
        self.route.parameters.values(self.in_path.iter(), query)
    }
}

/// The host that a request is for, without its port.
pub fn host(head: &Parts) -> &str {
    let of_target = head.uri.authority().map(Authority::host);
    let of_field = || Some(without_port(head.headers.get(HOST)?.to_str().ok()?));
    of_target.or_else(of_field).unwrap_or_default()
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! Which route a request has, and the topics it gives.

    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn routes(text: &str) -> Routes {
        Routes::new(&toml::from_str(text).expect("a stream section"))
    }

    fn head(uri: &str) -> Parts {
        Request::builder().uri(uri).body(()).expect("a request").into_parts().0
    }

    fn topics(routes: &Routes, uri: &str) -> Result<Vec<String>, SubscribeError> {
        let head = head(uri);
        let found = routes.find(&head).expect("there is a route");
        found.subscription(&head).map(|subscription| {
            let text = |filter: &Filter| match filter {
                Filter::Exact(topic) => topic.as_str().to_owned(),
                Filter::Pattern(pattern) => pattern.to_string(),
            };
            subscription.filters.iter().map(text).collect()
        })
    }

    const KANBAN: &str = r#"
        [[routes]]
        path = "/boards/{boardId}/events"
        topics = ["board.{boardId}", "agents.*"]
        parameters = { boardId = "[A-Za-z0-9_-]{1,8}" }
        [[routes]]
        path = "/boards/all/events"
        topics = ["board.*"]
        [[routes]]
        host = "*.example.com"
        path = "/boards/{any}/events"
        topics = ["example.{any}.{kind}"]
        parameters = { kind = { pattern = "[a-z]+", default = "all" } }
    "#;

    #[test]
    fn the_route_that_says_most_counts_wherever_it_stands() {
        let routes = routes(KANBAN);
        for (uri, expected) in [
            ("/boards/7/events", &["board.7", "agents.*"][..]),
            ("/boards/all/events", &["board.*"]),
            ("/boards/%37/events?boardId=8", &["board.7", "agents.*"]),
            ("http://a.example.com:80/boards/all/events", &["example.all.all"]),
            ("http://a.example.com/boards/7/events?kind=x", &["example.7.x"]),
            ("http://example.com/boards/7/events", &["board.7", "agents.*"]),
        ] {
            assert_eq!(topics(&routes, uri).expect(uri), expected, "{uri}");
        }
        for uri in
            ["/boards/7/events/", "/boards/7", "/boards//events", "/events", "/Boards/7/events"]
        {
            assert!(routes.find(&head(uri)).is_none(), "{uri}");
        }
    }

    #[test]
    fn a_parameter_that_is_missing_repeated_or_odd_is_named() {
        let routes = routes(
            r#"
            [[routes]]
            path = "/events"
            topics = ["board.{boardId}"]
            parameters = { boardId = "[0-9]+|x.*" }
            "#,
        );
        assert_eq!(topics(&routes, "/events?boardId=42&_=17").expect("a board"), ["board.42"]);
        for query in [
            "",
            "boardid=1",
            "boardId",
            "boardId=",
            "boardId=a",
            "boardId=1&boardId=2",
            "boardId=%ff",
            "boardId=x.y",
            "boardId=x*",
            "boardId=x+y",
            "boardId=x%3e",
            "boardId=x%00",
        ] {
            let error = topics(&routes, &format!("/events?{query}")).expect_err(query);
            assert_eq!(error.field(), "boardId", "{query}");
        }
        let long = format!("/events?boardId={}", "1".repeat(513));
        assert_eq!(topics(&routes, &long).expect_err("too long").field(), "boardId");
    }

    #[test]
    fn without_routes_there_is_events_with_the_clients_topics() {
        let routes = routes("");
        assert_eq!(topics(&routes, "/events?topic=a.*").expect("a topic"), ["a.*"]);
        assert_eq!(topics(&routes, "/events").expect_err("no topic").field(), "topic");
    }

    #[test]
    fn an_id_keeps_what_it_stands_for() {
        let old = routes(KANBAN);
        let changed = toml::from_str::<Stream>("heartbeat = '3s'").expect("a stream section");
        let new = old.renewed(&changed).expect("room for more");
        assert_eq!(new.settings()[..old.settings().len()], *old.settings());
        let (before, after) = (head("/boards/7/events"), head("/events?topic=a"));
        let subscription = |routes: &Routes, head: &Parts| {
            let found = routes.find(head).expect("there is a route");
            found.subscription(head).expect("a subscription").route
        };
        let (before, after) = (subscription(&old, &before), subscription(&new, &after));
        assert_ne!(new.settings()[before.index()], new.settings()[after.index()]);
        // What was there before is not added again.
        let again = new.renewed(&Stream { routes: Vec::new(), ..changed }).expect("room");
        assert_eq!(again.settings().len(), new.settings().len());
    }

    #[test]
    fn names_are_reserved_while_any_route_uses_them() {
        let renamed = "control = { hello = 'x-hello', end = '' }\nheartbeat_kind = 'event'\n";
        let mut names: Vec<_> = routes(renamed).reserved().into_iter().collect();
        names.sort();
        assert_eq!(names, ["gap", "heartbeat", "x-hello"]);
        let other = "[[routes]]\npath = '/a'\ntopics = ['a']\n[routes.control]\nhello = 'hello'\n";
        let mut names: Vec<_> =
            routes(&format!("{renamed}{other}")).reserved().into_iter().collect();
        names.sort();
        assert_eq!(names, ["gap", "heartbeat", "hello"]);
    }

    proptest! {
        #[test]
        fn a_value_never_changes_the_shape_of_a_topic(value in any::<String>()) {
            let routes = routes(
                "[[routes]]\npath = '/{id}'\ntopics = ['a.{id}.b']\nparameters = { id = '(?s).*' }\n",
            );
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let head = head(&format!("/{encoded}"));
            if let Some(found) = routes.find(&head) {
                match found.subscription(&head) {
                    Ok(subscription) => {
                        let [Filter::Exact(topic)] = &*subscription.filters else {
                            panic!("{:?}", subscription.filters)
                        };
                        prop_assert_eq!(topic.as_str(), format!("a.{value}.b"));
                        prop_assert_eq!(topic.as_str().split('.').count(), 3);
                    }
                    Err(error) => prop_assert_eq!(error.field(), "id"),
                }
            } else {
                prop_assert_eq!(value, "");
            }
        }
    }
}
