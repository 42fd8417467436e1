"""The JWT that an authorized key logs in with (contract §0.2), for clients other than the SDK.

Run as a program it prints one of the administrator's key: into a file, for curl to send.
"""

import argparse
import sys
import time

import jwt

from connection import Environment, Unusable

# What the documentation of the cloud has, whatever the endpoint is.
AUDIENCE = "https://iam.api.cloud.yandex.net/iam/v1/tokens"
LIFETIME_SECONDS = 3600


def sign(key, audience=AUDIENCE):
    """A JWT of an authorized key, as its JSON file has it."""
    now = int(time.time())
    claims = {
        "iss": key["service_account_id"],
        "aud": audience,
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
    }
    return jwt.encode(claims, key["private_key"], algorithm="PS256", headers={"kid": key["id"]})


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", required=True, help="the env file of what is running")
    try:
        print(sign(Environment.read(parser.parse_args().env).authorized_key()))
    except Unusable as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
