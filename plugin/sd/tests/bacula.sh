#!/bin/bash
# A private Bacula (director with SQLite, storage daemon with our driver, file daemon) in a folder, on loopback ports.
# For work on the driver by hand; sourced, it gives the functions below. Needs Debian's bacula-sd, -fd,
# -director-sqlite3, -console and sqlite3 installed, and the driver built with `--features directory-store`.
#
#   RIG=/tmp/gdd-rig PORT=29100 plugin/sd/tests/bacula.sh SOURCE
#
# labels, backs SOURCE up twice, restores both, compares, and prints the sizes. The folder is left for a look.
set -uo pipefail

RIG=${RIG:-/tmp/gdd-rig}
PORT=${PORT:-29100}
DRIVER=${DRIVER:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)/target/release/libgdd_sd.so}
VERSION=${VERSION:-9.6.7}
BLOCK=${BLOCK:-64512}
CATALOG=${CATALOG:-/usr/share/dbconfig-common/data/bacula-director-sqlite3/install/sqlite3}

rig_config() {
    mkdir -p "$RIG"/{plugins,volumes,streams,working,restore,plain}
    cp "$DRIVER" "$RIG/plugins/bacula-sd-cloud-driver-$VERSION.so"
    local d=$((PORT + 1)) s=$((PORT + 2)) f=$((PORT + 3))
    cat >"$RIG/sd.conf" <<END
Storage { Name = t-sd; SDPort = $s; SDAddress = 127.0.0.1; WorkingDirectory = "$RIG/working";
  Pid Directory = "$RIG/working";
  Plugin Directory = "$RIG/plugins"; Maximum Concurrent Jobs = 20; }
Director { Name = t-dir; Password = "x"; }
Messages { Name = Standard; director = t-dir = all; }
Device { Name = gdd; Media Type = Gdd; Device Type = Cloud; Archive Device = "$RIG/volumes"; LabelMedia = yes;
  Random Access = yes; AutomaticMount = yes; RemovableMedia = no; AlwaysOpen = no; Maximum Concurrent Jobs = 10;
  Maximum Block Size = $BLOCK; }
Device { Name = plain; Media Type = File; Device Type = File; Archive Device = "$RIG/plain"; LabelMedia = yes;
  Random Access = yes; AutomaticMount = yes; RemovableMedia = no; AlwaysOpen = no; Maximum Concurrent Jobs = 10; }
END
    cat >"$RIG/fd.conf" <<END
FileDaemon { Name = t-fd; FDPort = $f; FDAddress = 127.0.0.1; WorkingDirectory = "$RIG/working";
  Pid Directory = "$RIG/working";
  Maximum Concurrent Jobs = 20; }
Director { Name = t-dir; Password = "x"; }
Messages { Name = Standard; director = t-dir = all; }
END
    cat >"$RIG/dir.conf" <<END
Director { Name = t-dir; DIRport = $d; DirAddress = 127.0.0.1;
  QueryFile = "/etc/bacula/scripts/query.sql"; WorkingDirectory = "$RIG/working";
  PidDirectory = "$RIG/working";
  Maximum Concurrent Jobs = 20; Password = "x"; Messages = Standard; }
Catalog { Name = cat; dbname = "t"; dbuser = ""; dbpassword = ""; }
Client { Name = t-fd; Address = 127.0.0.1; FDPort = $f; Catalog = cat; Password = "x";
  Maximum Concurrent Jobs = 20; AutoPrune = no; }
Storage { Name = gdd; Address = 127.0.0.1; SDPort = $s; Password = "x";
  Device = gdd; Media Type = Gdd; Maximum Concurrent Jobs = 10; }
Storage { Name = plain; Address = 127.0.0.1; SDPort = $s; Password = "x";
  Device = plain; Media Type = File; Maximum Concurrent Jobs = 10; }
Pool { Name = P; Pool Type = Backup; Recycle = yes; AutoPrune = no; LabelFormat = "V-"; ActionOnPurge = Truncate; }
Messages { Name = Standard; append = "$RIG/log" = all, !skipped; catalog = all; console = all, !skipped; }
Schedule { Name = never; }
FileSet { Name = src; Include { Options { signature = MD5; xattrsupport = yes; aclsupport = yes; }
  File = "${SOURCE:-/nowhere}"; } }
FileSet { Name = sparse; Include { Options { signature = MD5; sparse = yes; } File = "${SOURCE:-/nowhere}"; } }
FileSet { Name = gz; Include { Options { signature = SHA1; compression = GZIP; } File = "${SOURCE:-/nowhere}"; } }
JobDefs { Name = d; Type = Backup; Level = Full; Client = t-fd; Storage = gdd; Pool = P; Messages = Standard;
  Maximum Concurrent Jobs = 10; Allow Duplicate Jobs = yes; }
Job { Name = src; JobDefs = d; FileSet = src; }
Job { Name = sparse; JobDefs = d; FileSet = sparse; }
Job { Name = gz; JobDefs = d; FileSet = gz; }
Job { Name = restore; Type = Restore; Client = t-fd; Storage = gdd; Pool = P; FileSet = src;
  Messages = Standard; Where = "$RIG/restore"; }
END
    echo "Director { Name = t-dir; DIRport = $d; address = 127.0.0.1; Password = \"x\"; }" >"$RIG/con.conf"
    sqlite3 "$RIG/working/t.db" <"$CATALOG"
}

rig_sd() { GDD_DIRECTORY_STORE="$RIG/streams" bacula-sd -f -c "$RIG/sd.conf" >>"$RIG/sd.out" 2>&1 & SD=$!; }
rig_start() {
    rig_sd
    bacula-fd -f -c "$RIG/fd.conf" >>"$RIG/fd.out" 2>&1 & FD=$!
    bacula-dir -f -c "$RIG/dir.conf" >>"$RIG/dir.out" 2>&1 & DIR=$!
    sleep 2
}
rig_stop() { kill "$DIR" "$FD" "$SD" 2>/dev/null; wait "$DIR" "$FD" "$SD" 2>/dev/null; }
con() { printf '%s\n' "$@" quit | bconsole -n -c "$RIG/con.conf"; }
# Jobs not ended in T or W, one a line.
bad_jobs() { sqlite3 "$RIG/working/t.db" "select JobId,Name,JobStatus from Job where JobStatus not in ('T')"; }
# Restores job $1 to $RIG/restore and compares with SOURCE.
restore_and_compare() {
    rm -rf "$RIG/restore"
    con "restore jobid=$1 client=t-fd restorejob=restore where=$RIG/restore all done yes" wait >>"$RIG/console" 2>&1
    local same="restored, equal"
    diff -r --no-dereference "$SOURCE" "$RIG/restore$SOURCE" >"$RIG/diff" 2>&1 || same=DIFFERS
    echo "job $1: $same"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    SOURCE=$(realpath "${1:?a folder to back up}")
    rm -rf "$RIG"
    rig_config
    rig_start
    trap rig_stop EXIT
    con 'label storage=gdd volume=V-1 pool=P slot=0 drive=0' | tail -4
    con 'run job=src yes' wait >"$RIG/console"
    con 'run job=src yes' 'run job=sparse yes' 'run job=gz yes' wait >>"$RIG/console"
    for job in 1 2 3 4; do restore_and_compare $job; done
    echo "jobs that did not end well: $(bad_jobs)"
    sqlite3 "$RIG/working/t.db" "select VolumeName,VolStatus,VolBytes from Media;
        select JobId,Name,JobStatus,JobFiles,JobBytes from Job;"
    ls -l "$RIG/volumes" "$RIG/streams"
    grep -hE 'GDD-|Fatal|Error:' "$RIG/log" | head -20
fi
