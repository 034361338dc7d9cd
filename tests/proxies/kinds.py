"""How each proxy is run: the recipe as one of its files, around it what its package has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.proxies.deployment import Place, Proxy
from tests.proxies.recipes import recipe


def _ports(place: Place) -> dict[str, str]:
    return {
        "127.0.0.1:8081": f"127.0.0.1:{place.servers[0]}",
        "127.0.0.1:8082": f"127.0.0.1:{place.servers[1]}",
    }


def _pem(place: Place) -> dict[str, str]:
    return {"/etc/ssl/jobs.pem": str(place.certificate), "/etc/ssl/jobs.key": _key(place)}


def _key(place: Place) -> str:
    return str(place.folder / "jobs.key")


def _nginx(place: Place) -> Sequence[str]:
    return _nginx_before(place, _ports(place))


def _nginx_on_sockets(place: Place) -> Sequence[str]:
    ports = _ports(place)
    return _nginx_before(place, {port: place.socket(at) for at, port in enumerate(ports)})


def _nginx_before(place: Place, servers: dict[str, str]) -> Sequence[str]:
    folder = place.folder
    places = {**servers, **_pem(place), "443": f"127.0.0.1:{place.port}"}
    (folder / "sharq.conf").write_text(recipe("nginx", places))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"  {kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"user root;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
        f"events {{ worker_connections 256; }}\nhttp {{\n{temporary}\n  access_log off;\n"
        f"  include {folder}/sharq.conf;\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]


def _haproxy(place: Place) -> Sequence[str]:
    both = place.folder / "both.pem"
    both.write_text(place.certificate.read_text() + Path(_key(place)).read_text())
    places = {**_ports(place), "/etc/ssl/jobs.pem": str(both), ":443": f"127.0.0.1:{place.port}"}
    path = place.folder / "haproxy.cfg"
    path.write_text(recipe("haproxy", places))
    return ["haproxy", "-W", "-f", str(path)]


_MODULES = (
    "mpm_event authz_core log_config socache_shmcb ssl headers rewrite setenvif proxy proxy_http"
    " slotmem_shm proxy_balancer watchdog proxy_hcheck lbmethod_byrequests"
)
_BUILT_IN = ("log_config", "watchdog")


def _apache(place: Place) -> Sequence[str]:
    folder = place.folder
    places = {**_ports(place), **_pem(place), "443": str(place.port)}
    (folder / "sharq.conf").write_text(recipe("apache", places))
    modules = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        for name in _MODULES.split()
        if name not in _BUILT_IN
    )
    (folder / "httpd.conf").write_text(
        f"ServerRoot {folder}\nServerName localhost\nDefaultRuntimeDir {folder}\n"
        f"PidFile {folder}/apache.pid\nListen 127.0.0.1:{place.port}\nErrorLog {folder}/error.log\n"
        f"{modules}IncludeOptional {folder}/sharq.conf\n"
    )
    return ["apache2", "-DFOREGROUND", "-d", str(folder), "-f", str(folder / "httpd.conf")]


def _caddy(place: Place) -> Sequence[str]:
    places = {
        **_ports(place),
        **_pem(place),
        "443": str(place.port),
        "/run/caddy/admin.sock": str(place.folder / "admin.sock"),
    }
    path = place.folder / "Caddyfile"
    path.write_text(recipe("caddy", places))
    homes = [f"{name}={place.folder}" for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")]
    return ["env", *homes, "caddy", "run", "--config", str(path), "--adapter", "caddyfile"]


NGINX = Proxy("nginx", _nginx)
NGINX_ON_SOCKETS = Proxy("nginx", _nginx_on_sockets, unix=True)
HAPROXY = Proxy("haproxy", _haproxy)
APACHE = Proxy("apache2", _apache)
CADDY = Proxy("caddy", _caddy)
