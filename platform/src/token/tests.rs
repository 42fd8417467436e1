//! Tests of tokens.

use lockbox_core::SubjectKind;

use super::*;
use crate::system::SystemRandom;

fn claims(cluster_id: &ClusterId) -> TokenClaims {
    TokenClaims {
        token_id: TokenId::generate(&SystemRandom),
        subject: Subject { kind: SubjectKind::ServiceAccount, id: "aje1".to_owned() },
        credential_id: Some(AuthorizedKeyId::generate(&SystemRandom)),
        issued_at: LogTime::from_ms(1_000),
        expires_at: LogTime::from_ms(2_000),
        cluster_id: cluster_id.clone(),
        maker: None,
    }
}

struct Fixture {
    cluster_id: ClusterId,
    signer: TokenSigner,
    verifier: TokenVerifier,
}

fn fixture() -> Result<Fixture, TokenError> {
    let cluster_id = ClusterId::generate(&SystemRandom);
    let signer = TokenSigner::from_seed(7, &generate_seed(&SystemRandom))?;
    let verifier = TokenVerifier::new(cluster_id.clone(), [(7, signer.public_key())]);
    Ok(Fixture { cluster_id, signer, verifier })
}

#[test]
fn a_token_says_what_was_signed() -> Result<(), TokenError> {
    let f = fixture()?;
    let signed = claims(&f.cluster_id);
    let token = f.signer.sign(&signed)?;
    let verified = f.verifier.verify(token.expose())?;
    assert_eq!(verified, VerifiedToken { claims: signed, signing_key_id: 7 });
    Ok(())
}

#[test]
fn the_same_seed_makes_the_same_key() -> Result<(), TokenError> {
    let seed = generate_seed(&SystemRandom);
    let (a, b) = (TokenSigner::from_seed(1, &seed)?, TokenSigner::from_seed(1, &seed)?);
    assert_eq!(a.public_key(), b.public_key());
    Ok(())
}

#[test]
fn any_changed_byte_is_refused() -> Result<(), TokenError> {
    let f = fixture()?;
    let token = f.signer.sign(&claims(&f.cluster_id))?;
    for position in 0..token.expose().len() {
        let mut bytes = token.expose().clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ASCII");
        assert!(f.verifier.verify(&changed).is_err(), "byte {position}");
    }
    Ok(())
}

#[test]
fn foreign_tokens_are_told_apart() -> Result<(), TokenError> {
    let f = fixture()?;
    let token = f.signer.sign(&claims(&f.cluster_id))?;
    let none = TokenVerifier::new(f.cluster_id.clone(), []);
    assert_eq!(none.verify(token.expose()), Err(TokenError::UnknownKey));

    let stranger = TokenSigner::from_seed(7, &generate_seed(&SystemRandom))?;
    let forged = stranger.sign(&claims(&f.cluster_id))?;
    assert_eq!(f.verifier.verify(forged.expose()), Err(TokenError::BadSignature));

    let other = f.signer.sign(&claims(&ClusterId::generate(&SystemRandom)))?;
    assert_eq!(f.verifier.verify(other.expose()), Err(TokenError::OtherCluster));

    let long = "t1.".to_owned() + &"A".repeat(TOKEN_BYTES_MAX);
    assert_eq!(f.verifier.verify(&long), Err(TokenError::TooLong));
    for malformed in ["", "t1", "t1..", "t2.AAAA.AAAA", "Bearer x", "t1.@@@.AAAA"] {
        assert_eq!(f.verifier.verify(malformed), Err(TokenError::Malformed), "{malformed}");
        assert!(!is_formed(malformed), "{malformed}");
    }
    // Whoever has signed a token: its form says nothing of that.
    assert!([&token, &forged, &other].iter().all(|token| is_formed(token.expose())));
    let (signed, _) = token.expose().rsplit_once('.').expect("three parts");
    for wrong in [long, format!("{signed}.AAAA"), format!("{signed}.")] {
        assert!(!is_formed(&wrong), "{wrong}");
    }
    Ok(())
}

#[test]
fn claims_that_do_not_fit_are_not_signed() -> Result<(), TokenError> {
    let f = fixture()?;
    let mut huge = claims(&f.cluster_id);
    huge.subject.id = "a".repeat(TOKEN_BYTES_MAX);
    assert_eq!(f.signer.sign(&huge).map(|_| ()), Err(TokenError::TooLong));
    Ok(())
}

#[test]
fn the_cache_forgets_with_the_key_and_is_bounded() -> Result<(), TokenError> {
    let f = fixture()?;
    let cache = VerifiedTokens::new(NonZeroUsize::MIN);
    let (a, b) = (f.signer.sign(&claims(&f.cluster_id))?, f.signer.sign(&claims(&f.cluster_id))?);
    let first = cache.verify(&f.verifier, a.expose())?;
    assert!(Arc::ptr_eq(&first, &cache.verify(&f.verifier, a.expose())?));

    let without_key = TokenVerifier::new(f.cluster_id.clone(), []);
    let refused = cache.verify(&without_key, a.expose()).map(|_| ());
    assert_eq!(refused, Err(TokenError::UnknownKey));

    cache.verify(&f.verifier, b.expose())?;
    assert!(!Arc::ptr_eq(&first, &cache.verify(&f.verifier, a.expose())?));
    Ok(())
}

#[test]
fn a_mask_keeps_the_signature_to_itself() -> Result<(), TokenError> {
    let f = fixture()?;
    let token = f.signer.sign(&claims(&f.cluster_id))?;
    let masked = mask(token.expose());
    assert_eq!(masked.len(), 16);
    assert!(masked.starts_with("t1.") && masked.ends_with("*****"));
    for other in ["", "t1.abc", "my-password-in-the-wrong-header", "t1.ключ"] {
        assert_eq!(mask(other), "*****");
    }
    Ok(())
}
