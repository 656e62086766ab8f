//! nginx and haproxy, as Debian packages them: one worker or thread, connections to the upstream that
//! are kept, and the fields that the gateway sets, so that no proxy wins by sending less. Limits that a
//! load test runs into are raised, and nginx's buffers hold a whole body, which it would else write
//! to a file; everything else is as it comes.

use std::path::Path;
use std::process::Command;

use crate::compare::peers::{nginx_command, write};
use crate::compare::servers::Site;

const NGINX: &str = "/usr/sbin/nginx";
const HAPROXY: &str = "/usr/sbin/haproxy";

pub(in crate::compare) fn nginx_missing() -> Option<&'static str> {
    (!Path::new(NGINX).exists()).then_some("install it with `apt-get install nginx`")
}

pub(in crate::compare) fn haproxy_missing() -> Option<&'static str> {
    (!Path::new(HAPROXY).exists()).then_some("install it with `apt-get install haproxy`")
}

/// As many connections are kept as the gateway keeps by default.
pub(in crate::compare) fn nginx(site: &Site, scratch: &Path) -> Result<Command, String> {
    let (public, origin, dir) = (site.public, site.origin, scratch.display());
    let config = format!(
        "daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {dir}/nginx.pid;
error_log stderr;
events {{ worker_connections 19900; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {dir}/body;
    client_body_buffer_size 128k;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    upstream origin {{
        server {origin};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {public} backlog=4096;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_buffer_size 16k;
            proxy_buffers 8 16k;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_set_header Forwarded \"for=$remote_addr;proto=$scheme;host=\\\"$http_host\\\"\";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header Via \"1.1 nginx\";
            add_header Via \"1.1 nginx\";
        }}
    }}
}}
"
    );
    nginx_command(scratch, &config)
}

pub(in crate::compare) fn haproxy(site: &Site, scratch: &Path) -> Result<Command, String> {
    let (public, origin) = (site.public, site.origin);
    let config = format!(
        "global
    nbthread 1
    maxconn 9000
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1m
    http-reuse always
frontend public
    bind {public} backlog 4096
    unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt%pid
    unique-id-header X-Request-Id
    http-request set-header Forwarded for=%[src];proto=http;host=\\\"%[req.hdr(host)]\\\"
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Real-IP %[src]
    http-request add-header Via \"1.1 haproxy\"
    http-response add-header Via \"1.1 haproxy\"
    default_backend origin
backend origin
    server origin {origin}
"
    );
    let file = scratch.join("haproxy.cfg");
    write(&file, &config)?;
    let mut command = Command::new(HAPROXY);
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}
