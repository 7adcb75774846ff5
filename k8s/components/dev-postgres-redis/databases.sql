-- One database per service; the first start of Postgres runs this.
create database identity;
create database profile;
create database scoring;
create database routing;
create database feedback;
