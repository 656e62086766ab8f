//! Which request goes where: the routes, the most specific first.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use http::Method;

use super::error::ProxyError;
use super::group::Group;
use crate::config::schema;
use crate::config::web::{HostPattern, has_dot_segments, without_port};

/// All routes.
#[derive(Debug)]
pub(super) struct Table(Vec<Arc<Route>>);

/// A route and its servers.
#[derive(Debug)]
pub(super) struct Route {
    /// Its place among the routes.
    pub(super) number: usize,
    pub(super) rules: schema::Route,
    pub(super) group: Arc<Group>,
}

impl Table {
    /// The routes whose groups exist.
    pub(super) fn new(routes: Vec<schema::Route>, groups: &[Arc<Group>]) -> Self {
        let route = |rules: schema::Route| {
            let group = groups.iter().find(|group| *group.name == *rules.upstream)?;
            Some(Route { number: 0, rules, group: Arc::clone(group) })
        };
        let mut routes: Vec<Route> = routes.into_iter().filter_map(route).collect();
        // The sort is stable: of two that say as much, the one that comes first counts.
        routes.sort_by(|a, b| a.rank().cmp(&b.rank()));
        for (number, route) in routes.iter_mut().enumerate() {
            route.number = number;
        }
        Self(routes.into_iter().map(Arc::new).collect())
    }

    /// The route of a request.
    pub(super) fn find(
        &self,
        host: Option<&str>,
        method: &Method,
        path: &str,
    ) -> Result<&Arc<Route>, ProxyError> {
        if has_dot_segments(path) {
            return Err(ProxyError::DotSegments);
        }
        let host = host.map(without_port).unwrap_or_default();
        let matches = |route: &&Arc<Route>| route.matches(host, method, path);
        self.0.iter().find(matches).ok_or(ProxyError::NoRoute)
    }
}

impl Route {
    fn rank(&self) -> (&HostPattern, Reverse<usize>, bool) {
        (&self.rules.host, Reverse(self.rules.path.bytes()), self.rules.methods.is_empty())
    }

    fn matches(&self, host: &str, method: &Method, path: &str) -> bool {
        let methods = &self.rules.methods;
        self.below(path).is_some()
            && self.rules.host.matches(host)
            && (methods.is_empty() || methods.iter().any(|one| one.0 == *method))
    }

    /// What the path has behind the route's. What is asked of the server as a whole (`*`) is of every
    /// route for all paths.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let is_whole_server = path == "*" && self.rules.path.bytes() == 0;
        self.rules.path.strip(path).or(is_whole_server.then_some(path))
    }

    /// The path that the server is asked for.
    pub(super) fn path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match (&self.rules.rewrite, self.below(path)) {
            (Some(rewrite), Some(below)) if path != "*" => rewrite.join(below).into(),
            _ => path.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Upstream;

    fn table(routes: &[&str]) -> Table {
        let routes: Vec<schema::Route> =
            routes.iter().map(|text| toml::from_str(text).expect("a route")).collect();
        let group = |name: &&str| {
            let servers = ["http://127.0.0.1:1".to_owned().try_into().expect("a URL")];
            Arc::new(Group::new(&Upstream::new(name, servers.to_vec()), 0, 0).expect("no TLS"))
        };
        let groups: Vec<_> = ["a", "b", "c", "d"].iter().map(group).collect();
        Table::new(routes, &groups)
    }

    fn found(table: &Table, host: &str, method: &Method, path: &str) -> Option<String> {
        let found = table.find(Some(host), method, path);
        found.ok().map(|route| route.group.name.to_string())
    }

    #[test]
    fn the_route_that_says_most_counts_wherever_it_stands() {
        let table = table(&[
            "upstream = 'a'",
            "upstream = 'b'\npath = '/api'",
            "upstream = 'c'\nhost = '*.example.com'",
            "upstream = 'd'\nhost = 'www.example.com'\npath = '/api/'",
        ]);
        for (host, path, expected) in [
            ("other.org", "/", "a"),
            ("other.org", "*", "a"),
            ("other.org", "/apis", "a"),
            ("other.org:8080", "/api", "b"),
            ("[::1]:8080", "/api", "b"),
            ("other.org", "/api/x", "b"),
            ("a.example.com", "/api/x", "c"),
            ("example.com", "/api/x", "b"),
            ("WWW.Example.COM:80", "/api/x", "d"),
            ("www.example.com", "/", "c"),
        ] {
            let found = found(&table, host, &Method::GET, path);
            assert_eq!(found.as_deref(), Some(expected), "{host}{path}");
        }
    }

    #[test]
    fn a_route_may_take_some_methods_only() {
        let table = table(&["upstream = 'b'", "upstream = 'a'\npath = '/api'\nmethods = ['GET']"]);
        assert_eq!(found(&table, "x", &Method::GET, "/api").as_deref(), Some("a"));
        assert_eq!(found(&table, "x", &Method::POST, "/api").as_deref(), Some("b"));
    }

    #[test]
    fn a_path_that_servers_may_resolve_differently_goes_nowhere() {
        let table = table(&["upstream = 'a'"]);
        assert!(matches!(table.find(None, &Method::GET, "/a/../b"), Err(ProxyError::DotSegments)));
    }

    #[test]
    fn a_rewrite_takes_the_place_of_the_routes_path() {
        let path = |from: &str, to: &str, path: &str| {
            let table = table(&[&format!("upstream = 'a'\npath = '{from}'\nrewrite = '{to}'")]);
            let route = table.find(None, &Method::GET, path).expect("it matches");
            route.path(path).into_owned()
        };
        assert_eq!(path("/api", "/", "/api/x"), "/x");
        assert_eq!(path("/api", "/", "/api"), "/");
        assert_eq!(path("/api/", "/v2/", "/api/x/"), "/v2/x/");
        assert_eq!(path("/", "/app", "/x"), "/app/x");
        assert_eq!(path("/", "/app", "*"), "*");
        assert_eq!(path("/api", "/v2", "/api"), "/v2");
    }
}
