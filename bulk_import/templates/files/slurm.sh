#!/bin/bash
# Slurm: one import on several nodes, and one report of all. bulk-import @VERSION@.
#   bulk-import validate keys.yaml --shards 8      # the division
#   ./slurm.sh submit 8 keys.yaml                  # an array of 8 tasks, and a merge after all of them
# The tasks share the current folder. A task that is requeued continues: it finds out from KMS what is done. The exit
# code of the merge job is that of the fleet (`sacct -j ID`); a shard that left no report makes it 4, or 5 if no key is
# OK. Material: `material: file:…` below the manifest's folder, or a variable that your site passes to the tasks.
#SBATCH --job-name=bulk-import
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=512M
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=bulk-import-%A_%a.log
#SBATCH --signal=B:TERM@60
set -euo pipefail

export BULK_IMPORT_LOG_FORMAT=json BULK_IMPORT_GRACE=20s

case "${1:?submit, shard or merge}" in
  submit)
    shards=$2 manifest=$3
    folder=fleet-$(date -u +%Y%m%dT%H%M%SZ)
    mkdir "$folder"
    array=$(sbatch --parsable --array="0-$((shards - 1))" "$0" shard "$folder" "$manifest")
    sbatch --dependency="afterany:$array" --output="$folder/merge.log" "$0" merge "$folder"
    ;;
  shard)
    mkdir -p "$2/$SLURM_ARRAY_TASK_ID"
    exec bulk-import run "$3" --shard auto --report "$2/$SLURM_ARRAY_TASK_ID/report.json"
    ;;
  merge)
    exec bulk-import report "$2"/*/report.json --format json --output "$2/report.json"
    ;;
esac
