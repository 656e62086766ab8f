//! The peers of the streams: nginx with nchan and pushpin, as Debian packages them, each with a
//! configuration of its own in a scratch folder. Limits that a load test runs into are
//! raised; everything else is as it comes.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::compare::servers::Site;

const NGINX: &str = "/usr/sbin/nginx";
const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const PUSHPIN: [&str; 3] = ["/usr/bin/pushpin", "/usr/bin/condure", "/usr/bin/zurl"];

pub(super) fn nchan_missing() -> Option<&'static str> {
    let there = [NGINX, NCHAN].iter().all(|file| Path::new(file).exists());
    (!there).then_some("install it with `apt-get install nginx libnginx-mod-nchan`")
}

pub(super) fn pushpin_missing() -> Option<&'static str> {
    let there = PUSHPIN.iter().all(|file| Path::new(file).exists());
    (!there).then_some("install it with `apt-get install pushpin zurl`")
}

/// The packages' versions, as far as they are installed.
pub(super) fn versions(packages: &[&str]) -> Vec<String> {
    packages
        .iter()
        .filter_map(|package| {
            let mut query = Command::new("dpkg-query");
            let output =
                query.args(["-W", "-f", "${Package} ${Version}", package]).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        })
        .collect()
}

/// One worker. A publisher's connection may be used for ever, and messages wait in memory
/// for as long as a load test may be late.
pub(super) fn nchan(site: &Site, scratch: &Path) -> Result<Command, String> {
    let (public, internal, dir) = (site.public, site.internal, scratch.display());
    let config = format!(
        "load_module {NCHAN};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {dir}/nginx.pid;
error_log stderr;
events {{ worker_connections 19900; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    nchan_shared_memory_size 256M;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen {public} backlog=1024;
        location = /healthz {{ return 200; }}
        location = /events {{
            nchan_subscriber eventsource;
            nchan_channel_id $arg_topic;
            nchan_subscriber_first_message newest;
        }}
    }}
    server {{
        listen {internal};
        location ~ ^/topics/(.+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
            nchan_message_buffer_length 1024;
            nchan_message_timeout 10s;
        }}
    }}
}}
"
    );
    nginx_command(scratch, &config)
}

pub(super) fn nginx_command(scratch: &Path, config: &str) -> Result<Command, String> {
    let file = scratch.join("nginx.conf");
    write(&file, config)?;
    let mut command = Command::new(NGINX);
    command.arg("-p").arg(scratch).arg("-c").arg(file);
    if rustix::process::geteuid().is_root() {
        // The worker would give up its rights and with them the scratch folder.
        command.args(["-g", "user root;"]);
    }
    Ok(command)
}

/// The rate limits are raised out of the way. zurl, which asks the origin, is started with it.
pub(super) fn pushpin(site: &Site, scratch: &Path) -> Result<Command, String> {
    let [pull, subscribe, commands] = site.further;
    let (public, internal, dir) = (site.public, site.internal, scratch.display());
    let config = format!(
        "[global]
include={{libdir}}/internal.conf
rundir={dir}
ipc_prefix=pushpin-

[runner]
services=condure,zurl,pushpin-proxy,pushpin-handler
http_port={public}
logdir={dir}
log_level=1
client_maxconn=18500

[proxy]
routesfile=routes
zurl_out_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-in
zurl_out_stream_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-in-stream
zurl_in_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-out

[handler]
push_in_spec=tcp://{pull}
push_in_sub_specs=tcp://{subscribe}
command_spec=tcp://{commands}
push_in_http_addr={}
push_in_http_port={}
message_rate=100000000
message_hwm=100000000
",
        internal.ip(),
        internal.port()
    );
    let file = scratch.join("pushpin.conf");
    write(&file, &config)?;
    write(&scratch.join("routes"), &format!("* {}\n", site.origin))?;
    let mut command = Command::new(PUSHPIN[0]);
    command.arg(format!("--config={}", file.display()));
    Ok(command)
}

pub(super) fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("writing {}: {error}", file.display()))
}
