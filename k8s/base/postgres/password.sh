# Gives the database's role the password of the Secret, through the local socket, which asks for none. Nothing is printed or logged.
seconds=0
until psql --no-psqlrc --quiet --dbname=postgres --username="$POSTGRES_USER" --set=ON_ERROR_STOP=1 >/dev/null 2>&1 <<'SQL'
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
\getenv password POSTGRES_PASSWORD
ALTER ROLE CURRENT_USER PASSWORD :'password';
SQL
do
  seconds=$((seconds + 1))
  [ "$seconds" -lt 120 ] || { echo "PostgreSQL did not take the password of the Secret postgres in 120 s" >&2; exit 1; }
  sleep 1
done
