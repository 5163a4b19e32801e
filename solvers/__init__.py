"""The searching room: solvers whose every find is handed to `spverify.verify` as a certificate. Untrusted."""
