//! From a topic to the audiences that want it. Exact topics by hash; patterns in a tree of tokens,
//! so that the cost of a publish depends on its topic's tokens and the patterns that begin like it,
//! not on how many topics, patterns or streams there are.

use std::collections::HashMap;

use memchr::memchr;
use slab::Slab;

use crate::topic::{Filter, Topic};

/// What the index finds.
pub(super) type AudienceKey = usize;

#[derive(Default)]
pub(super) struct Index {
    exact: HashMap<Topic, Vec<AudienceKey>>,
    patterns: Patterns,
}

impl Index {
    pub(super) fn add(&mut self, filter: &Filter, audience: AudienceKey) {
        match filter {
            Filter::Exact(topic) => self.exact.entry(topic.clone()).or_default().push(audience),
            Filter::Pattern(pattern) => self.patterns.add(pattern, audience),
        }
    }

    pub(super) fn remove(&mut self, filter: &Filter, audience: AudienceKey) {
        match filter {
            Filter::Exact(topic) => {
                let Some(audiences) = self.exact.get_mut(topic) else { return };
                audiences.retain(|&other| other != audience);
                if audiences.is_empty() {
                    self.exact.remove(topic);
                }
            }
            Filter::Pattern(pattern) => self.patterns.remove(pattern, audience),
        }
    }

    /// Calls `found` for every audience that wants `topic`: more than once for one that wants it
    /// by several filters.
    pub(super) fn matches(&self, topic: &Topic, mut found: impl FnMut(AudienceKey)) {
        if let Some(audiences) = self.exact.get(topic) {
            audiences.iter().copied().for_each(&mut found);
        }
        if self.patterns.count > 0 && !Topic::is_private_name(topic.as_str()) {
            self.patterns.matches(ROOT, Some(topic.as_str()), &mut found);
        }
    }

    /// Topics and patterns that somebody wants.
    pub(super) fn len(&self) -> usize {
        self.exact.len() + self.patterns.count
    }
}

type NodeKey = usize;
const ROOT: NodeKey = 0;

/// A tree of pattern tokens. No deeper than a pattern has tokens, which `PATTERN_TOKENS_MAX`
/// bounds: the recursions below are as deep as the tree.
struct Patterns {
    nodes: Slab<Node>,
    /// Distinct patterns.
    count: usize,
}

#[derive(Default)]
struct Node {
    literals: HashMap<Box<str>, NodeKey>,
    /// The subtree of `*`.
    star: Option<NodeKey>,
    /// Audiences of the pattern that ends here.
    here: Vec<AudienceKey>,
    /// Audiences of the pattern that goes on with a final `>`.
    tail: Vec<AudienceKey>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.literals.is_empty()
            && self.star.is_none()
            && self.here.is_empty()
            && self.tail.is_empty()
    }
}

impl Default for Patterns {
    fn default() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::default());
        Self { nodes, count: 0 }
    }
}

/// The first token and the rest, if there is more.
fn split(text: &str) -> (&str, Option<&str>) {
    match memchr(b'.', text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

impl Patterns {
    fn add(&mut self, pattern: &str, audience: AudienceKey) {
        let mut node = ROOT;
        for token in pattern.split('.') {
            if token == ">" {
                break;
            }
            node = self.child(node, token).unwrap_or_else(|| self.add_child(node, token));
        }
        let node = &mut self.nodes[node];
        let audiences = if is_tail(pattern) { &mut node.tail } else { &mut node.here };
        self.count += usize::from(audiences.is_empty());
        audiences.push(audience);
    }

    fn child(&self, parent: NodeKey, token: &str) -> Option<NodeKey> {
        let parent = &self.nodes[parent];
        if token == "*" { parent.star } else { parent.literals.get(token).copied() }
    }

    fn add_child(&mut self, parent: NodeKey, token: &str) -> NodeKey {
        let child = self.nodes.insert(Node::default());
        let parent = &mut self.nodes[parent];
        if token == "*" {
            parent.star = Some(child);
        } else {
            parent.literals.insert(token.into(), child);
        }
        child
    }

    fn remove(&mut self, pattern: &str, audience: AudienceKey) {
        self.remove_below(ROOT, Some(pattern), audience);
    }

    fn remove_below(&mut self, key: NodeKey, rest: Option<&str>, audience: AudienceKey) {
        let step = rest.map(split);
        let ending = match step {
            None => Some(&mut self.nodes[key].here),
            Some((">", _)) => Some(&mut self.nodes[key].tail),
            Some(_) => None,
        };
        if let Some(audiences) = ending {
            let before = audiences.len();
            audiences.retain(|&other| other != audience);
            self.count -= usize::from(before > 0 && audiences.is_empty());
            return;
        }
        let Some((token, rest)) = step else { return };
        let Some(child) = self.child(key, token) else { return };
        self.remove_below(child, rest, audience);
        if self.nodes[child].is_empty() {
            self.nodes.remove(child);
            let node = &mut self.nodes[key];
            if token == "*" {
                node.star = None;
            } else {
                node.literals.remove(token);
            }
        }
    }

    fn matches(&self, key: NodeKey, rest: Option<&str>, found: &mut impl FnMut(AudienceKey)) {
        let node = &self.nodes[key];
        let Some(rest) = rest else {
            node.here.iter().copied().for_each(found);
            return;
        };
        node.tail.iter().copied().for_each(&mut *found);
        let (token, rest) = split(rest);
        if let Some(&child) = node.literals.get(token) {
            self.matches(child, rest, found);
        }
        if let Some(child) = node.star {
            self.matches(child, rest, found);
        }
    }
}

fn is_tail(pattern: &str) -> bool {
    pattern == ">" || pattern.ends_with(".>")
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! The index against a model that tries every filter on every topic.

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn model_matches(filter: &Filter, topic: &Topic) -> bool {
        let pattern = match filter {
            Filter::Exact(exact) => return exact == topic,
            Filter::Pattern(pattern) => pattern,
        };
        let tokens: Vec<_> = topic.as_str().split('.').collect();
        let wanted: Vec<_> = pattern.split('.').collect();
        let same = |(wanted, token): (&&str, &&str)| *wanted == "*" || wanted == token;
        match wanted.split_last() {
            Some((&">", head)) => tokens.len() > head.len() && head.iter().zip(&tokens).all(same),
            _ => wanted.len() == tokens.len() && wanted.iter().zip(&tokens).all(same),
        }
    }

    fn filter() -> impl Strategy<Value = Filter> {
        "([ab*]\\.){0,3}[ab*>]".prop_map(|text| Filter::parse(&text).unwrap())
    }

    fn topic() -> impl Strategy<Value = Topic> {
        "([ab]?\\.){0,3}[ab]".prop_map(|text| Topic::parse(&text).unwrap())
    }

    fn found(index: &Index, topic: &Topic) -> BTreeSet<AudienceKey> {
        let mut found = BTreeSet::new();
        index.matches(topic, |audience| {
            found.insert(audience);
        });
        found
    }

    proptest! {
        #[test]
        fn an_index_finds_what_trying_every_filter_finds(
            filters in prop::collection::vec(filter(), 1..30),
            topics in prop::collection::vec(topic(), 1..10),
            removed in prop::collection::vec(any::<bool>(), 30),
        ) {
            let mut index = Index::default();
            let mut wanted: Vec<_> = filters.into_iter().enumerate().collect();
            for (audience, filter) in &wanted {
                index.add(filter, *audience);
            }
            for (audience, filter) in wanted.extract_if(.., |(audience, _)| removed[*audience]) {
                index.remove(&filter, audience);
            }
            let distinct: BTreeSet<_> = wanted.iter().map(|(_, filter)| filter).collect();
            prop_assert_eq!(index.len(), distinct.len());
            for topic in topics {
                let expected = wanted
                    .iter()
                    .filter(|(_, filter)| model_matches(filter, &topic))
                    .map(|(audience, _)| *audience)
                    .collect();
                prop_assert_eq!(found(&index, &topic), expected, "{:?}", topic);
            }
            for (audience, filter) in wanted {
                index.remove(&filter, audience);
            }
            prop_assert_eq!(index.len(), 0);
            prop_assert_eq!(index.patterns.nodes.len(), 1, "only the root is left");
        }
    }

    #[test]
    fn the_deepest_pattern_is_no_trouble() {
        let mut index = Index::default();
        let pattern = Filter::parse(&format!("{}*", "a.".repeat(15))).unwrap();
        index.add(&pattern, 7);
        let topic = Topic::parse(&format!("{}b", "a.".repeat(15))).unwrap();
        assert_eq!(found(&index, &topic), [7].into());
        assert!(found(&index, &Topic::parse(&".".repeat(512)).unwrap()).is_empty());
        index.remove(&pattern, 7);
        assert_eq!(index.patterns.nodes.len(), 1);
    }
}
