"""The acting part of the Linux sandbox: what is planned in the core is done here."""
