"""mID: who a person is, according to an OpenID Connect provider, and their account."""
