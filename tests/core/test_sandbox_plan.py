"""Planning a sandbox: what a plugin is shown, what is hidden from it again, what is refused."""

import re

import pytest

from sigil_actors.core.execution import (
    ContainerExecution,
    Limits,
    PluginType,
    ProcessExecution,
    SandboxPolicy,
    WasmExecution,
)
from sigil_actors.core.host_facts import PathKind
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_mounts import Bind, HiddenFile, HiddenFolder
from sigil_actors.core.sandbox_plan import (
    NetworkAccess,
    SandboxLimits,
    SandboxPlan,
    paths_to_look_at,
    plan_sandbox,
)
from sigil_actors.errors import Fault, PluginRefusedError, SandboxRequestError
from tests.core.sandbox_cases import DEBIAN, FOLDER, MACOS, OLD, PLUGINS, STATE, manifest, plan

MISSING, FOLDER_KIND = PathKind.MISSING, PathKind.FOLDER


def masks_of(one: SandboxPlan) -> list[HiddenFile | HiddenFolder]:
    return [mount for mount in one.mounts if isinstance(mount, HiddenFile | HiddenFolder)]


def bound(one: SandboxPlan, target: str) -> Bind:
    [bind] = [bind for bind in one.binds() if bind.target == target]
    return bind


def refusal(one: Manifest, **how: object) -> SandboxRequestError:
    with pytest.raises(SandboxRequestError) as refused:
        plan(one, **how)  # type: ignore[arg-type]
    error = refused.value
    assert isinstance(error, PluginRefusedError)
    assert error.fault is Fault.MANIFEST_AUTHOR
    assert error.plugin == one.name
    assert error.remedy
    return error


# What is shown


def test_a_plugin_that_asks_for_nothing_sees_the_system_and_itself() -> None:
    one = plan(manifest())
    assert [(bind.target, bind.is_writable) for bind in one.binds() if bind.is_by_descriptor] == [
        (one.socket_dir, True),
        (FOLDER, False),
    ]
    assert (one.network, one.proxy_port) == (NetworkAccess.NONE, None)
    assert one.command == (f"{FOLDER}/echo",)


def test_without_a_place_to_listen_nothing_is_writable() -> None:
    assert not any(bind.is_writable for bind in plan(manifest(), socket_dir=None).binds())


def test_self_stands_for_the_plugins_name_as_a_whole_component_only() -> None:
    one = plan(
        manifest(
            name="telegram",
            write_allow=("/data/self/*", "/data/selfish/self.d"),
            read_allow=("/models/self/",),
        )
    )
    assert {bind.target for bind in one.binds()} >= {
        "/data/telegram",
        "/data/selfish/self.d",
        "/models/telegram",
    }


def test_self_in_read_deny_is_a_name_like_any_other() -> None:
    assert paths_to_look_at(manifest(read_deny=("/proc/self/environ",)), home="/h") == (
        "/proc/self/environ",
    )


def test_the_home_is_that_of_the_hosts_user() -> None:
    one = plan(manifest(write_allow=("~/plugin data",), read_deny=("~/.ssh/*", "~/.ssh")))
    assert bound(one, "/home/gateway/plugin data").is_writable
    assert paths_to_look_at(manifest(read_deny=("~/.ssh/*", "~/.ssh")), home="/home/g") == (
        "/home/g/.ssh",
    )


def test_an_inner_folder_keeps_its_own_mode_whatever_the_order() -> None:
    for write, read in ((("/data",), ("/data/a/models",)), (("/data/a/models",), ("/data",))):
        one = plan(manifest(write_allow=write, read_allow=read))
        targets = [bind.target for bind in one.binds()]
        assert targets.index("/data") < targets.index("/data/a/models")
        assert bound(one, "/data/a/models").is_writable == ("/data/a/models" in write)


def test_folders_that_a_manifest_names_are_bound_by_descriptor() -> None:
    one = plan(manifest(write_allow=("/data",), read_allow=("/opt/venv",)))
    assert all(bound(one, path).is_by_descriptor for path in ("/data", "/opt/venv", FOLDER))


def test_a_program_of_the_system_can_be_run() -> None:
    assert plan(manifest(command=("/bin/sh", "x"))).command == ("/bin/sh", "x")
    assert plan(manifest(command=("/usr/bin/env", "--", "./x"))).command[0] == "/usr/bin/env"
    venv = manifest(command=("/opt/venv/bin/python", "-m", "x"), read_allow=("/opt/venv",))
    assert plan(venv).command[0] == "/opt/venv/bin/python"


def test_limits_and_network_are_the_manifests() -> None:
    limits = Limits(memory=1 << 30, pids=5, open_files=64, cpu=0.5)
    one = plan(manifest(limits=limits, allow=("a.example:443",)))
    assert one.limits == SandboxLimits(memory_bytes=1 << 30, pids=5, open_files=64, cpu=0.5)
    assert (one.network, one.proxy_port) == (NetworkAccess.PROXY, 3128)


# The environment


def test_a_plugin_gets_exactly_these_variables() -> None:
    one = plan(manifest(env={"TZ": "UTC", "LANG": "de_DE.UTF-8"}))
    assert dict(one.environment) == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/home/plugin",
        "TMPDIR": "/tmp",
        "LANG": "de_DE.UTF-8",
        "TZ": "UTC",
        "SIGIL_PLUGIN": "cookie",
        "PLUGIN_UNIX_SOCKET_DIR": "/run/sigil/sockets/echo-1",
    }


def test_with_a_network_the_proxy_is_told_in_every_spelling() -> None:
    environment = plan(manifest(allow=("a.example:443",))).environment
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        assert environment[name] == environment[name.lower()] == "http://127.0.0.1:3128"
    assert "127.0.0.1" in environment["NO_PROXY"]
    assert environment["NODE_USE_ENV_PROXY"] == "1"


def test_what_the_host_sets_cant_be_set_by_a_manifest() -> None:
    error = refusal(manifest(env={"HTTPS_PROXY": "x"}, allow=("a.example:443",)))
    assert error.key == "execution.env.HTTPS_PROXY"
    assert plan(manifest(env={"HTTPS_PROXY": "x"})).environment["HTTPS_PROXY"] == "x"
    with pytest.raises(SandboxRequestError, match=r"execution\.env\.MY_COOKIE"):
        plan_sandbox(
            manifest(env={"MY_COOKIE": "x"}),
            DEBIAN,
            folder=FOLDER,
            socket_dir=None,
            environment={"MY_COOKIE": "y"},
            paths={},
        )


def test_where_the_sandbox_has_no_places_of_its_own_the_socket_folder_serves() -> None:
    one = plan(manifest(), MACOS)
    assert one.environment["HOME"] == one.environment["TMPDIR"] == one.socket_dir


# What is refused

REFUSED_BOTH = """
/ /* // /. /proc /proc/ /proc/* /proc/1 /proc/self/root /sys /sys/fs/cgroup /dev /dev/shm /dev/mem
/etc /run /var /var/run /tmp /var/tmp /home /root ~/ ~/* /home/gateway /private /Users
"""
REFUSED_WRITES = """
/usr /usr/share/x /bin /lib/x /lib64 /sbin /etc/cron.d /etc/x /boot /run/x /var/run/x /opt /srv /mnt
~/.ssh ~/.ssh/keys ~/.config ~/.config/systemd/user ~/.local ~/.local/bin ~/bin/x ~/.bashrc
/media /var/lib /System/x /Library/x /Applications
"""


@pytest.mark.parametrize("path", REFUSED_BOTH.split())
@pytest.mark.parametrize("key", ["write_allow", "read_allow"])
def test_too_much_to_be_shown(key: str, path: str) -> None:
    error = refusal(manifest(**{key: ("/data", path)}))  # type: ignore[arg-type]
    assert error.key == f"execution.sandbox.filesystem.{key}[1]"


@pytest.mark.parametrize("path", REFUSED_WRITES.split())
def test_too_much_to_be_written(path: str) -> None:
    error = refusal(manifest(write_allow=(path,)))
    assert error.key == "execution.sandbox.filesystem.write_allow[0]"


def test_less_of_the_same_is_shown() -> None:
    one = manifest(
        write_allow=(
            "/home/gateway/x",
            "~/.config/x",
            "~/.local/share/x",
            "~/.sigil/self",
            "/tmp/x",
            "/srv/x",
            "/var/lib/x",
        ),
        read_allow=("/etc/x", "/run/x", "/usr/share/x"),
    )
    assert bound(plan(one), "/srv/x").is_writable


@pytest.mark.parametrize("key", ["write_allow", "read_allow"])
@pytest.mark.parametrize(
    "path", [STATE, f"{STATE}/audit", "/var/lib/*", PLUGINS, f"{PLUGINS}/other", "/srv"]
)
def test_the_hosts_own_folders_are_nobodys(key: str, path: str) -> None:
    assert key in refusal(manifest(**{key: (path,)})).key  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/x/plugins/echo", "/x/plugins", "/x", "/x/plugins/echo/data"])
def test_the_plugins_own_folder_is_never_writable(path: str) -> None:
    error = refusal(manifest(write_allow=(path,)), folder="/x/plugins/echo")
    assert error.key == "execution.sandbox.filesystem.write_allow[0]"
    assert "folder of its own" in error.remedy


@pytest.mark.parametrize(
    "path",
    ["", "data", "./data", "/a/../etc", "-v", "--bind", "~alice/x", "/a\nb", "/a\0b", "/a\x1b[2J",
     "/a\x9b", "/a\udc80", "/data/*/x", "/da*", "/" + "x" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("key", ["write_allow", "read_allow", "read_deny"])
def test_what_is_no_path_is_refused_with_its_key(key: str, path: str) -> None:
    error = refusal(manifest(**{key: (path,)}))  # type: ignore[arg-type]
    assert error.key == f"execution.sandbox.filesystem.{key}[0]"
    assert str(error).isprintable()


def test_a_home_that_isnt_there_cant_be_meant() -> None:
    with pytest.raises(SandboxRequestError, match="has none"):
        paths_to_look_at(manifest(read_deny=("~/.ssh",)), home="~")


def test_the_same_folder_for_reading_and_writing_is_a_contradiction() -> None:
    error = refusal(manifest(write_allow=("/data/self",), read_allow=("/data/echo/*",)))
    assert error.key == "execution.sandbox.filesystem.write_allow[0]"


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("/opt/tool/run", "sees nothing"),
        ("/data/run", "must not be writable"),
        ("~/bin/run", "in a home"),
        ("/etc/ssl/certs/run", "sees nothing"),
        ("/lib32/run", "sees nothing"),
    ],
)
def test_a_program_must_be_visible_and_not_writable(command: str, what: str) -> None:
    error = refusal(manifest(command=(command,), write_allow=("/data",)))
    assert error.key == "execution.command[0]"
    assert what in str(error)


def test_a_hidden_program_is_a_contradiction() -> None:
    error = refusal(manifest(command=("/usr/bin/env",), read_deny=("/usr/bin/*",)))
    assert error.key == "execution.command[0]"


def test_a_network_without_the_proxy_is_refused_even_if_made_in_code() -> None:
    one = manifest(allow=("nonsense",))
    assert refusal(one).key == "execution.sandbox.network.allow[0]"


@pytest.mark.parametrize("execution", [WasmExecution(), ContainerExecution(image="x")])
def test_other_tiers_have_no_such_plan(execution: WasmExecution | ContainerExecution) -> None:
    one = Manifest(name="echo", version="1.0.0", type=PluginType.TOOL, execution=execution)
    with pytest.raises(SandboxRequestError, match=re.escape("execution.tier")):
        plan(one)


# What is hidden again


def test_what_isnt_visible_needs_no_mask_and_what_isnt_there_gets_none() -> None:
    one = manifest(read_deny=("/etc/shadow", "~/.ssh/*", "/opt/secret", "/usr/share/gone"))
    assert masks_of(plan(one, kinds={"/usr/share/gone": MISSING})) == []


def test_a_file_and_a_folder_are_hidden_each_in_its_way() -> None:
    one = manifest(read_allow=("/opt/venv",), read_deny=("/opt/venv/key", "/opt/venv/keys/*"))
    assert masks_of(plan(one, kinds={"/opt/venv/keys": FOLDER_KIND})) == [
        HiddenFile(path="/opt/venv/key"),
        HiddenFolder(path="/opt/venv/keys"),
    ]


def test_masks_come_after_everything_that_is_shown() -> None:
    one = plan(manifest(read_allow=("/opt",), read_deny=("/opt/a/key", "/usr/share/x")))
    kinds = [type(mount) for mount in one.mounts]
    assert kinds[-3:-1] == [HiddenFile, HiddenFile]
    assert Bind not in kinds[-3:]


def test_what_is_denied_by_a_link_is_hidden_where_it_leads() -> None:
    one = manifest(read_deny=("/lib/x", "/srv/link"))
    links = {"/lib/x": "/usr/lib/x", "/srv/link": "/usr/share/secret"}
    assert [mask.path for mask in masks_of(plan(one, links=links))] == [
        "/usr/lib/x",
        "/usr/share/secret",
    ]


def test_a_link_in_a_writable_folder_decides_nothing() -> None:
    one = manifest(write_allow=("/data",), read_deny=("/data/link",))
    error = refusal(one, links={"/data/link": "/data/other"})
    assert error.key == "execution.sandbox.filesystem.read_deny[0]"
    assert "/data/other" in error.remedy


def test_what_lies_in_a_hidden_folder_needs_no_mask_of_its_own() -> None:
    one = manifest(read_allow=("/opt",), read_deny=("/opt/a/b/c", "/opt/a", "/opt/ab"))
    kinds = {"/opt/a": FOLDER_KIND, "/opt/ab": FOLDER_KIND}
    assert [mask.path for mask in masks_of(plan(one, kinds=kinds))] == ["/opt/a", "/opt/ab"]


def test_parents_of_what_is_hidden_in_a_writable_folder_are_held_in_place() -> None:
    one = plan(
        manifest(
            write_allow=("/data",),
            read_allow=("/data/a/models",),
            read_deny=("/data/a/b/key", "/data/a/b/other", "/data/top", "/data/a/models/c/key"),
        )
    )
    assert [bind.target for bind in one.binds() if bind.is_pin] == ["/data/a", "/data/a/b"]
    assert [(bind.target, bind.is_writable) for bind in one.binds()][-5:] == [
        ("/data/a", True),
        ("/data/a/b", True),
        ("/data/a/models", False),
        (one.socket_dir, True),
        (FOLDER, False),
    ]


def test_settings_that_are_denied_arent_shown_at_all() -> None:
    one = manifest(read_deny=("/etc/ssl/*", "/etc/localtime"))
    kinds = {"/etc/ssl": FOLDER_KIND}
    links = {"/etc/localtime": "/usr/share/zoneinfo/Etc/UTC"}
    shown = {bind.target for bind in plan(one, kinds=kinds, links=links).binds()}
    assert "/etc/ld.so.cache" in shown
    assert not {"/etc/ssl/certs", "/etc/localtime"} & shown
    everything = plan(manifest(read_deny=("/etc/*",)), kinds={"/etc": FOLDER_KIND})
    assert not [bind for bind in everything.binds() if bind.target.startswith("/etc/")]


def test_a_setting_is_hidden_by_any_of_its_paths() -> None:
    zones = manifest(read_deny=("/usr/share/zoneinfo/*",))
    one = plan(zones, kinds={"/usr/share/zoneinfo": FOLDER_KIND})
    assert "/etc/localtime" not in {bind.target for bind in one.binds()}


@pytest.mark.parametrize("denied", ["/", "/usr", "/lib"])
def test_without_the_system_no_program_runs(denied: str) -> None:
    error = refusal(manifest(read_deny=(denied,)), facts=OLD, kinds={denied: FOLDER_KIND})
    assert error.key == "execution.sandbox.filesystem.read_deny[0]"


@pytest.mark.parametrize("denied", ["/data/echo", "/data/*"])
def test_hiding_all_of_what_is_allowed_is_a_contradiction(denied: str) -> None:
    one = manifest(write_allow=("/data/self",), read_deny=(denied,))
    error = refusal(one, kinds={denied.removesuffix("/*"): FOLDER_KIND})
    assert "write_allow[0]" in str(error)


def test_hiding_the_others_around_a_plugins_own_folder_is_none() -> None:
    one = manifest(read_deny=(f"{STATE}/*",))
    assert masks_of(plan(one, kinds={STATE: FOLDER_KIND})) == []


def test_a_mask_over_the_plugins_own_folder_is_a_contradiction() -> None:
    one = manifest(read_allow=("/x",), read_deny=("/x/plugins",))
    error = refusal(one, folder="/x/plugins/echo", kinds={"/x/plugins": FOLDER_KIND})
    assert error.key == "execution.sandbox.filesystem.read_deny[0]"


def test_a_part_of_the_plugins_own_folder_can_be_hidden() -> None:
    one = manifest(read_deny=(f"{FOLDER}/notes.txt",))
    assert masks_of(plan(one)) == [HiddenFile(path=f"{FOLDER}/notes.txt")]


def test_a_path_that_nobody_looked_at_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        plan_sandbox(
            manifest(read_deny=("/etc/shadow",)),
            DEBIAN,
            folder=FOLDER,
            socket_dir=None,
            environment={},
            paths={},
        )


def test_a_manifest_that_is_wrong_in_itself_is_refused_before() -> None:
    execution = ProcessExecution(sandbox=SandboxPolicy(limits=Limits(pids=0)))
    one = Manifest(name="echo", version="1.0.0", type=PluginType.TOOL, execution=execution)
    assert refusal(one).key == "execution.sandbox.limits.pids"
