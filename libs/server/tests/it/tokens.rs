//! Tokens that are refused, scopes that are missing, methods that are not for everybody.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::TenantId;
use server::Surface;
use server::token::{Audience, Claims, Grant, PublicKey, Signer, Verifier};
use tonic::Code;
use tonic::service::Routes;
use uuid::Uuid;

use crate::probe::{Fixture, tenant};
use crate::wire::{call, frame};

fn claims() -> Claims {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Claims {
        iss: "rapport".to_owned(),
        aud: "rapport".to_owned(),
        sub: "tester".to_owned(),
        exp: now + 60,
        nbf: now,
        jti: "t1".to_owned(),
        tenant: tenant().uuid(),
        scope: "probe:read".to_owned(),
        browser: None,
    }
}

fn part(json: &serde_json::Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// Signed like a good one, with other claims or another header.
fn forged(signer: &Signer) -> Vec<(&'static str, String)> {
    let good = signer.sign(&claims()).unwrap();
    let kid = jsonwebtoken::decode_header(&good).unwrap().kid;
    let parts: Vec<&str> = good.split('.').collect();
    let changed = |change: fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        signer.sign(&claims).unwrap()
    };
    let none = serde_json::json!({"alg": "none", "typ": "JWT", "kid": kid});
    let mut confused = Header::new(Algorithm::HS256);
    confused.kid = kid;
    let confused = |secret: &[u8]| {
        jsonwebtoken::encode(&confused, &claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let pem = signer.public_key().to_pem();
    let raw = pem.lines().nth(1).unwrap();
    let der = base64::engine::general_purpose::STANDARD.decode(raw).unwrap();
    let stranger = Signer::generate().unwrap().0.sign(&claims()).unwrap();
    let strangers_signature = stranger.rsplit('.').next().unwrap();
    let mut tampered = serde_json::to_value(claims()).unwrap();
    tampered["scope"] = "probe:read probe:write".into();
    vec![
        ("empty", String::new()),
        ("not a token", "abc".to_owned()),
        ("alg none", format!("{}.{}.", part(&none), parts[1])),
        ("alg none with the signature", format!("{}.{}.{}", part(&none), parts[1], parts[2])),
        ("HS256 with the public PEM", confused(pem.as_bytes())),
        ("HS256 with the public key", confused(&der[12..])),
        ("signature stripped", format!("{}.{}.", parts[0], parts[1])),
        ("unknown key", stranger.clone()),
        ("another's signature", format!("{}.{}.{strangers_signature}", parts[0], parts[1])),
        ("tampered", format!("{}.{}.{}", parts[0], part(&tampered), parts[2])),
        ("expired", changed(|claims| claims.exp -= 66)),
        ("not yet", changed(|claims| claims.nbf += 30)),
        ("another issuer", changed(|claims| claims.iss = "mallory".to_owned())),
        ("another audience", changed(|claims| claims.aud = "billing".to_owned())),
        ("no tenant", changed(|claims| claims.tenant = Uuid::nil())),
        ("too long", format!("{good}{}", "a".repeat(9_000))),
    ]
}

#[tokio::test]
async fn forged_tokens_are_refused_and_good_ones_are_not() {
    let fixture = Fixture::new("").await;
    let good = fixture.signer.sign(&claims()).unwrap();
    for _ in 0..2 {
        let answer = call(&fixture.endpoint, "Echo", &good, frame("x")).await;
        assert_eq!(answer.code(), Code::Ok, "{}", answer.status.message());
    }
    for (what, token) in forged(&fixture.signer) {
        let answer = call(&fixture.endpoint, "Echo", &token, frame("x")).await;
        assert_eq!(answer.code(), Code::Unauthenticated, "{what}");
        assert_eq!(answer.reason(), "TOKEN_INVALID", "{what}");
    }
}

#[tokio::test]
async fn every_claim_is_required() {
    let fixture = Fixture::new("").await;
    let (_, pem) = Signer::generate().unwrap();
    let signer = Signer::from_pem(&pem).unwrap();
    let verifier = Verifier::new([(Audience::Public, signer.public_key())]);
    let kid = jsonwebtoken::decode_header(signer.sign(&claims()).unwrap()).unwrap().kid;
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = kid;
    let key = EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
    let whole = serde_json::to_value(claims()).unwrap();
    let sign = |claims: &serde_json::Value| jsonwebtoken::encode(&header, claims, &key).unwrap();
    assert!(verifier.verify(&sign(&whole)).await.is_ok());
    assert!(fixture.verifier.verify(&sign(&whole)).await.is_err(), "another server's key");
    for claim in ["iss", "aud", "sub", "exp", "nbf", "jti", "tenant"] {
        let mut lacking = whole.clone();
        lacking.as_object_mut().unwrap().remove(claim);
        assert!(verifier.verify(&sign(&lacking)).await.is_err(), "without {claim}");
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_although_it_was_cached() {
    let fixture = Fixture::new("").await;
    let token = fixture.signer.sign(&claims()).unwrap();
    assert!(fixture.verifier.verify(&token).await.is_ok());
    fixture.verifier.set_revoked(HashSet::from(["t1".to_owned()]));
    assert!(fixture.verifier.verify(&token).await.is_err());
}

#[tokio::test]
async fn a_missing_scope_is_denied_and_a_public_method_needs_no_token() {
    let fixture = Fixture::new("").await;
    let token = fixture.token(&["probe:write", "probe:reader"]);
    let answer = call(&fixture.endpoint, "Echo", &token, frame("x")).await;
    assert_eq!(
        (answer.code(), answer.reason().as_str()),
        (Code::PermissionDenied, "SCOPE_MISSING")
    );
    let answer = call(&fixture.endpoint, "Open", "forged", frame("x")).await;
    assert_eq!(answer.code(), Code::Ok);
}

#[tokio::test]
async fn internal_methods_are_for_services_and_absent_from_a_public_surface() {
    let fixture = Fixture::new("").await;
    let outsider = fixture.token(&["probe:read", "probe:write"]);
    let internal = |tenant: TenantId| {
        let grant = Grant {
            audience: Audience::Internal,
            tenant,
            subject: "profile",
            scopes: &[],
            ttl: Duration::from_secs(60),
        };
        fixture.signer.issue(&grant).unwrap().0
    };
    let answer = call(&fixture.endpoint, "Describe", &outsider, frame("x")).await;
    assert_eq!(answer.code(), Code::PermissionDenied);
    let answer = call(&fixture.endpoint, "Describe", &internal(tenant()), frame("x")).await;
    assert_eq!(answer.code(), Code::Ok);
    let routes = Routes::new(fixture.probe.clone());
    let public = fixture.server.mount(routes, Surface::Public).unwrap();
    let answer = call(&public, "Describe", &internal(tenant()), frame("x")).await;
    assert_eq!(answer.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_key_for_users_cannot_issue_internal_tokens() {
    let (signer, _) = Signer::generate().unwrap();
    let key = PublicKey::from_pem(&signer.public_key().to_pem()).unwrap();
    let verifier = Verifier::new([(Audience::Public, key)]);
    let issue = |audience| {
        let (tenant, ttl) = (tenant(), Duration::from_secs(60));
        let grant = Grant { audience, tenant, subject: "s", scopes: &["a:read"], ttl };
        signer.issue(&grant).unwrap().0
    };
    assert!(!verifier.verify(&issue(Audience::Public)).await.unwrap().internal);
    assert!(verifier.verify(&issue(Audience::Internal)).await.is_err());
}
