"""The way out: the audited proxy that is a sandboxed plugin's only road to the network.

rule = EgressRule.from_entries(manifest.execution.sandbox.network.allow)
nursery.start_soon(partial(serve_egress, listener, plugin=name, rule=rule, gate=launch.egress))
"""
