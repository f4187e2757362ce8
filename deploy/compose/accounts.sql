-- The application's account, and the least that interlock's own account needs.
CREATE USER 'app'@'%' IDENTIFIED BY 'app';
GRANT ALL ON interlock_demo.* TO 'app'@'%';
CREATE USER 'interlock'@'%' IDENTIFIED BY 'interlock';
GRANT SELECT, TRIGGER ON interlock_demo.* TO 'interlock'@'%';
