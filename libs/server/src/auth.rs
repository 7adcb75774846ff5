//! Which token a method asks for, read from `option (rapport.common.v1.auth)`.
//!
//! A method of a `rapport.*` package without the option is an error that names it, so a server
//! with a forgotten rule does not start. Methods that are not in the table are refused by
//! the authorisation layer, whatever is mounted.

use std::collections::HashMap;
use std::sync::Arc;

use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, MethodDescriptor};

const OPTION: &str = "rapport.common.v1.auth";

/// Descriptors that do not make a table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an encoded `FileDescriptorSet`.
    #[error("the descriptor set cannot be read")]
    Descriptors(#[source] prost_reflect::DescriptorError),
    /// The option itself is not in the set.
    #[error("the descriptor set lacks {OPTION}")]
    NoOption,
    /// RPCs without a rule, all of them.
    #[error("no auth option on: {}", .0.join(", "))]
    Missing(Vec<String>),
}

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A token with this scope, or another service of the suite.
    Scope(String),
    /// Only another service of the suite.
    Internal,
    /// Anybody.
    Public,
}

/// One RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// `package.Service/Method`; `_other` for what is not in the table.
    pub name: String,
    /// Who may call; absent for what is not in the table.
    pub rule: Option<Rule>,
    /// Either side is a stream.
    pub streaming: bool,
}

/// Every RPC of a descriptor set, and gRPC's own health and reflection.
#[derive(Debug, Clone)]
pub struct Table {
    /// By HTTP path, `/package.Service/Method`.
    methods: Arc<HashMap<String, Arc<Method>>>,
    unknown: Arc<Method>,
}

impl Table {
    /// Reads an encoded `FileDescriptorSet`.
    ///
    /// # Errors
    /// Names every `rapport.*` RPC that lacks the option.
    pub fn from_descriptors(bytes: &[u8]) -> Result<Self, Error> {
        let pool = DescriptorPool::decode(bytes).map_err(Error::Descriptors)?;
        let option = pool.get_extension_by_name(OPTION).ok_or(Error::NoOption)?;
        let mut methods = HashMap::new();
        let mut missing = Vec::new();
        for service in pool.services().filter(|service| is_ours(service.full_name())) {
            for method in service.methods() {
                match rule(&method, &option) {
                    Some(rule) => insert(&mut methods, &method, rule),
                    None => missing.push(name(&method)),
                }
            }
        }
        if !missing.is_empty() {
            return Err(Error::Missing(missing));
        }
        for own in
            [tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET]
        {
            let pool = DescriptorPool::decode(own).map_err(Error::Descriptors)?;
            for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>())
            {
                insert(&mut methods, &method, Rule::Public);
            }
        }
        let unknown = Method { name: "_other".to_owned(), rule: None, streaming: false };
        Ok(Self { methods: Arc::new(methods), unknown: Arc::new(unknown) })
    }

    /// The method of an HTTP path.
    #[must_use]
    pub fn lookup(&self, path: &str) -> Arc<Method> {
        Arc::clone(self.methods.get(path).unwrap_or(&self.unknown))
    }

    /// All methods, in the order of their names.
    #[must_use]
    pub fn methods(&self) -> Vec<Arc<Method>> {
        let mut methods: Vec<_> = self.methods.values().cloned().collect();
        methods.sort_by(|left, right| left.name.cmp(&right.name));
        methods
    }
}

fn is_ours(full_name: &str) -> bool {
    full_name.starts_with("rapport.")
}

fn name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

fn insert(methods: &mut HashMap<String, Arc<Method>>, method: &MethodDescriptor, rule: Rule) {
    let name = name(method);
    let streaming = method.is_client_streaming() || method.is_server_streaming();
    let path = format!("/{name}");
    methods.insert(path, Arc::new(Method { name, rule: Some(rule), streaming }));
}

/// Absent when the option is absent, empty or false.
fn rule(method: &MethodDescriptor, option: &ExtensionDescriptor) -> Option<Rule> {
    let options = method.options();
    if !options.has_extension(option) {
        return None;
    }
    let value = options.get_extension(option);
    let rule: &DynamicMessage = value.as_message()?;
    let field = |name: &str| rule.get_field_by_name(name).map(std::borrow::Cow::into_owned);
    let flag = |name: &str| field(name).and_then(|value| value.as_bool()).unwrap_or(false);
    if flag("internal") {
        return Some(Rule::Internal);
    }
    if flag("public") {
        return Some(Rule::Public);
    }
    let scope = field("scope")?.as_str()?.to_owned();
    (!scope.is_empty()).then_some(Rule::Scope(scope))
}
