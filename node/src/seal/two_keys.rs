//! The attack that the commitment is for (`peers.md` S12): GCM does not commit to its key, so one
//! ciphertext can be made that opens under two keys, to two texts (Dodis, Grubbs, Ristenpart,
//! Woodage, "Fast message franking", CRYPTO 2018).

use lockbox_platform::system::SystemRandom;

use super::*;

const BLOCK_BYTES: usize = 16;
const NONCE: [u8; 12] = [7; 12];

/// Product in GCM's field: the first bit of a block is the coefficient of 1 (SP 800-38D §6.3).
fn multiply(x: u128, y: u128) -> u128 {
    let (mut product, mut shifted) = (0, y);
    for bit in (0..u128::BITS).rev() {
        if x >> bit & 1 == 1 {
            product ^= shifted;
        }
        let carry = shifted & 1;
        shifted >>= 1;
        if carry == 1 {
            shifted ^= 0xe1 << 120;
        }
    }
    product
}

/// x to the power of 2¹²⁸ - 2.
fn inverse(x: u128) -> u128 {
    let (mut result, mut power) = (1 << 127, x);
    for _ in 1..u128::BITS {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    result
}

fn block(bytes: &[u8]) -> u128 {
    u128::from_be_bytes(bytes.try_into().unwrap())
}

/// The tag alone of what a key makes of these.
fn tag(key: &SymmetricKey, plain: &[u8], data: &[u8]) -> u128 {
    let sealed = encrypt(key, &NONCE, plain, data);
    block(&sealed[plain.len()..])
}

/// The key of the hash within GCM, from two tags: of nothing, which is the mask alone, and of one
/// empty block of associated data, where only the block of the lengths counts.
fn hash_key(key: &SymmetricKey) -> u128 {
    let lengths = u128::from(8 * BLOCK_BYTES as u64) << 64;
    let hashed = tag(key, b"", b"") ^ tag(key, b"", &[0; BLOCK_BYTES]);
    multiply(hashed, inverse(lengths))
}

/// What has to be encrypted so that this ciphertext comes out.
fn plain_of(key: &SymmetricKey, ciphertext: &[u8]) -> Vec<u8> {
    let stream = encrypt(key, &NONCE, &vec![0; ciphertext.len()], b"");
    ciphertext.iter().zip(stream).map(|(byte, mask)| byte ^ mask).collect()
}

/// A ciphertext of two blocks, any and one that makes the tags under both keys the same.
fn for_two_keys(keys: [&SymmetricKey; 2], data: &[u8]) -> Vec<u8> {
    let mut ciphertext = vec![0x5a; BLOCK_BYTES];
    ciphertext.extend([0; BLOCK_BYTES]);
    // The last block counts by the square of the hash's key, and the tags differ by this.
    let apart = keys.map(|key| tag(key, &plain_of(key, &ciphertext), data));
    let squares = keys.map(hash_key).map(|key| multiply(key, key));
    let last = multiply(apart[0] ^ apart[1], inverse(squares[0] ^ squares[1]));
    ciphertext[BLOCK_BYTES..].copy_from_slice(&last.to_be_bytes());
    let common = tag(keys[0], &plain_of(keys[0], &ciphertext), data);
    ciphertext.extend(common.to_be_bytes());
    ciphertext
}

#[test]
fn security_s12_a_ciphertext_that_opens_under_two_keys_is_refused() {
    let id = "x1";
    let (cloud, folder) = (CloudId::parse(id).unwrap(), FolderId::parse(id).unwrap());
    let (secret, version) = (SecretId::parse(id).unwrap(), VersionId::parse(id).unwrap());
    let place = SealPlace { cloud: &cloud, folder: &folder, secret: &secret, version: &version };
    let data_keys = [(); 2].map(|()| SymmetricKey::generate(&SystemRandom));
    let message_keys = data_keys.each_ref().map(|key| derive(key, None, &[INFO_MESSAGE]));
    let ciphertext = for_two_keys(message_keys.each_ref(), &place.associated_data());

    // The attack is real: GCM alone opens it under either key, to another text.
    let data = place.associated_data();
    let opened = message_keys.each_ref().map(|key| decrypt(key, &NONCE, &ciphertext, &data));
    let [first, second] = opened.map(|opened| opened.unwrap().expose().clone());
    assert_ne!(first, second);

    for (committed, key) in data_keys.iter().enumerate() {
        let commitment = *derive(key, None, &[INFO_COMMITMENT]).expose();
        let message = SealedMessage { commitment, nonce: NONCE, ciphertext: ciphertext.clone() };
        for (number, key) in data_keys.iter().enumerate() {
            assert_eq!(open(key, &place, &message).is_ok(), number == committed);
        }
    }
}
