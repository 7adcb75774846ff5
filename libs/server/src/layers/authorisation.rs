//! May they: the rule of the method against the principal. Closed by default: a method that
//! is not in the table is UNIMPLEMENTED, whatever is mounted.

use std::sync::Arc;

use tonic::{Code, Status};

use super::{Around, Request, Response, Rpc, method, refuse};
use crate::auth::Rule;
use crate::status::{plain, status};
use crate::token::{Error, Principal};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Authorisation;

impl Around for Authorisation {
    async fn around<R: Rpc>(&self, request: Request, rest: &R) -> Response {
        let rule = method(&request).and_then(|method| method.rule.as_ref());
        let principal = request.extensions().get::<Arc<Principal>>();
        match check(rule, principal.map(Arc::as_ref)) {
            Ok(()) => rest.call(request).await,
            Err(status) => refuse(*status),
        }
    }
}

fn check(rule: Option<&Rule>, principal: Option<&Principal>) -> Result<(), Box<Status>> {
    let denied =
        |message: String| Box::new(plain(Code::PermissionDenied, "SCOPE_MISSING", message));
    match (rule, principal) {
        (None, _) => Err(Box::new(Status::new(Code::Unimplemented, ""))),
        (Some(Rule::Public), _) => Ok(()),
        (Some(_), None) => Err(Box::new(status(&Error::Refused))),
        (Some(Rule::Internal), Some(caller)) if caller.internal => Ok(()),
        (Some(Rule::Internal), Some(_)) => {
            Err(denied("only the services of the suite may call this".to_owned()))
        }
        (Some(Rule::Scope(scope)), Some(caller))
            if caller.internal || caller.scopes.contains(scope) =>
        {
            Ok(())
        }
        (Some(Rule::Scope(scope)), Some(_)) => Err(denied(format!("scope {scope} is required"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::TenantId;
    use uuid::Uuid;

    #[test]
    fn each_rule_lets_in_whom_it_should_and_nobody_else() {
        let caller = |internal, scope: &str| Principal {
            tenant: TenantId::new(Uuid::from_u128(1)),
            subject: "s".to_owned(),
            scopes: std::iter::once(scope.to_owned()).collect(),
            internal,
            token_id: String::new(),
            browser: None,
        };
        let code = |rule: Option<Rule>, caller: Option<Principal>| {
            check(rule.as_ref(), caller.as_ref()).err().map(|status| status.code())
        };
        let read = || Some(Rule::Scope("a:read".to_owned()));
        assert_eq!(code(read(), Some(caller(false, "a:read"))), None);
        assert_eq!(code(read(), Some(caller(true, ""))), None);
        assert_eq!(code(read(), Some(caller(false, "a:write"))), Some(Code::PermissionDenied));
        assert_eq!(code(read(), None), Some(Code::Unauthenticated));
        assert_eq!(code(Some(Rule::Internal), Some(caller(true, ""))), None);
        let outsider = caller(false, "a:read");
        assert_eq!(code(Some(Rule::Internal), Some(outsider)), Some(Code::PermissionDenied));
        assert_eq!(code(Some(Rule::Public), None), None);
        assert_eq!(code(None, Some(caller(true, ""))), Some(Code::Unimplemented));
    }
}
