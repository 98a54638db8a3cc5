#!/usr/bin/env bash
# What a careful person writes first: a loop over the AWS CLI with openssl.
#   cli_loop.sh KEYS.tsv   (account, Region, key, material file; needs AWS credentials, aws and openssl)
# Per account one AssumeRole; per key: describe, parameters, wrap, import, three reads of Enabled 2 s apart.
set -euo pipefail
folder=$(cd "$(dirname "$1")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
caller=("$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY")
current=

enter() { # account
  [ "$1" = "$current" ] && return
  export AWS_ACCESS_KEY_ID=${caller[0]} AWS_SECRET_ACCESS_KEY=${caller[1]}
  unset AWS_SESSION_TOKEN
  local credentials
  credentials=$(aws sts assume-role --role-arn "arn:aws:iam::$1:role/Importer" --role-session-name cli-loop \
    --query 'Credentials.[AccessKeyId,SecretAccessKey,SessionToken]' --output text)
  read -r AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN <<<"$credentials"
  export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
  current=$1
}

while IFS=$'\t' read -r account region key material; do
  enter "$account"
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region
  arn=$(aws kms describe-key --key-id "$key" --query KeyMetadata.Arn --output text)
  read -r token public < <(aws kms get-parameters-for-import --key-id "$arn" \
    --wrapping-algorithm RSAES_OAEP_SHA_256 --wrapping-key-spec RSA_4096 \
    --query '[ImportToken,PublicKey]' --output text)
  base64 -d <<<"$token" >"$work/token"
  base64 -d <<<"$public" >"$work/public.der"
  openssl pkeyutl -encrypt -pubin -inkey "$work/public.der" -keyform DER -in "$folder/$material" -out "$work/sealed" \
    -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256
  aws kms import-key-material --key-id "$arn" --import-token "fileb://$work/token" \
    --encrypted-key-material "fileb://$work/sealed" --expiration-model KEY_MATERIAL_DOES_NOT_EXPIRE >/dev/null
  good=0
  while :; do
    state=$(aws kms describe-key --key-id "$arn" --query KeyMetadata.KeyState --output text)
    if [ "$state" = Enabled ]; then good=$((good + 1)); else good=0; fi
    [ "$good" -ge 3 ] && break
    sleep 2
  done
done <"$1"
